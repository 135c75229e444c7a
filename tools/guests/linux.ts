/**
 * `npm run guests:linux`: Debian's cloud kernel and an initramfs with busybox, in .cache/linux. The packages come from the distribution by name (apt-get
 * download needs no rights; nothing is installed). Where there is no apt, it says which files to bring.
 *
 *   .cache/linux/vmlinuz              the kernel of the newest linux-image-*-cloud-amd64
 *   .cache/linux/initrd-shell.img     a shell on the serial console; leaving it powers off
 *   .cache/linux/initrd-check.img     prints what the checks compare and powers off
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cpio, type Entry } from "./cpio.ts";

const CACHE = fileURLToPath(new URL("../../.cache/linux/", import.meta.url));
const META = "linux-image-cloud-amd64";
const BUSYBOX = "busybox-static";

class Problem extends Error {}

function run(command: string, args: string[]): string {
  return execFileSync(command, args, { cwd: CACHE, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Name of the package that the meta package stands for at present. */
function kernelPackage(): string {
  const depends = run("apt-cache", ["depends", META]);
  const found = /Depends: (linux-image-\S+-cloud-amd64)\b/.exec(depends)?.[1];
  if (found === undefined) throw new Problem(`apt does not know ${META}; try "apt-get update"`);
  return found;
}

/** Path of the package's file in the cache; downloaded when it is missing. */
function fetchPackage(name: string): string {
  const cached = (): string | undefined =>
    readdirSync(CACHE).find(file => file.startsWith(`${name}_`) && file.endsWith(".deb"));
  if (cached() === undefined) {
    console.log(`downloading ${name}`);
    run("apt-get", ["download", name]);
  }
  const file = cached();
  if (file === undefined) throw new Problem(`${name} was not downloaded`);
  return join(CACHE, file);
}

/** Unpacks a package and returns the path of one file in it. */
function extract(name: string, pattern: RegExp): string {
  const folder = join(CACHE, `x-${name}`);
  if (!existsSync(folder)) run("dpkg-deb", ["-x", fetchPackage(name), folder]);
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const found = files.find(file => pattern.test(file));
  if (found === undefined) throw new Problem(`${name} has no file like ${pattern.source}`);
  return join(folder, found);
}

const START = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/
mount -t proc proc /proc
mount -t sysfs sys /sys
`;

/** What /init does after that. */
const SCRIPTS: { readonly [name: string]: string } = {
  shell: `echo "Leave this shell with exit or Ctrl-D: the machine powers off."
setsid cttyhack sh
poweroff -f
`,
  check: `echo "INIT $(uname -r) cpus=$(grep -c ^processor /proc/cpuinfo)"
echo "clocksource $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
sleep 0.1
cat /proc/interrupts
echo "END"
poweroff -f
`,
};

function initramfs(busybox: Uint8Array, script: string): Uint8Array {
  const entries: Entry[] = ["bin", "dev", "proc", "sys", "tmp"].map(path => ({ kind: "directory", path }));
  entries.push({ kind: "device", path: "dev/console", major: 5, minor: 1 });
  entries.push({ kind: "device", path: "dev/null", major: 1, minor: 3 });
  entries.push({ kind: "device", path: "dev/ttyS0", major: 4, minor: 64 });
  entries.push({ kind: "file", path: "bin/busybox", bytes: busybox, mode: 0o755 });
  entries.push({ kind: "file", path: "init", bytes: new TextEncoder().encode(START + script), mode: 0o755 });
  return cpio(entries);
}

function main(): void {
  mkdirSync(CACHE, { recursive: true });
  try {
    run("dpkg-deb", ["--version"]);
  } catch {
    throw new Problem(`there is no dpkg here: put a kernel at ${CACHE}vmlinuz and a static busybox at ${CACHE}busybox`);
  }
  const busybox = join(CACHE, "busybox");
  if (!existsSync(busybox)) copyFileSync(extract(BUSYBOX, /(^|\/)bin\/busybox$/), busybox);
  const kernel = join(CACHE, "vmlinuz");
  if (!existsSync(kernel)) copyFileSync(extract(kernelPackage(), /^boot\/vmlinuz-/), kernel);
  for (const [name, script] of Object.entries(SCRIPTS)) {
    const path = join(CACHE, `initrd-${name}.img`);
    writeFileSync(path, initramfs(new Uint8Array(readFileSync(busybox)), script));
    console.log(path);
  }
}

try {
  main();
} catch (error) {
  const text = error instanceof Problem ? error.message : `${String(error)}`;
  console.error(`guests:linux: ${text.split("\n")[0]}`);
  process.exitCode = 1;
}
