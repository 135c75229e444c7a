/**
 * `npm run guests`: Debian's kernels and initramfs images with busybox, in .cache/linux. The packages come from the distribution by name (apt-get
 * download needs no rights; nothing is installed). Where there is no apt, it says which files to bring.
 *
 *   .cache/linux/vmlinuz              the kernel of the newest linux-image-*-cloud-amd64
 *   .cache/linux/vmlinuz-amd64        the kernel of the newest linux-image-*-amd64
 *   .cache/linux/initrd-shell.img     a shell on the serial console; leaving it powers off
 *   .cache/linux/initrd-check.img     prints what the checks compare and powers off
 *   .cache/linux/ipxe.lkrn            iPXE, for the tests of BIOS services and of the network
 *   .cache/linux/memtest.bin          Memtest86+, for the tests of several CPUs
 */
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { initramfs } from "./initramfs.ts";
import { SCRIPTS } from "./scripts.ts";

const CACHE = fileURLToPath(new URL("../../.cache/linux/", import.meta.url));
const BUSYBOX = "busybox-static";
/** Bootable programs that are no kernels, by name of the file: package, and file in it. */
const PROGRAMS = {
  "ipxe.lkrn": { name: "ipxe", pattern: /^boot\/ipxe\.lkrn$/ },
  "memtest.bin": { name: "memtest86+", pattern: /^boot\/memtest86\+x64\.bin$/ },
} as const;
/** By name of the file: the meta package, and what the package that it stands for is called. */
const KERNELS = {
  vmlinuz: { meta: "linux-image-cloud-amd64", real: /Depends: (linux-image-\d\S+-cloud-amd64)\b/ },
  "vmlinuz-amd64": { meta: "linux-image-amd64", real: /Depends: (linux-image-\d[^-\s]*-\d+-amd64)\b/ },
} as const;

class Problem extends Error {}

function run(command: string, args: string[]): string {
  return execFileSync(command, args, { cwd: CACHE, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Name of the package that a meta package stands for at present. */
function kernelPackage({ meta, real }: (typeof KERNELS)[keyof typeof KERNELS]): string {
  const found = real.exec(run("apt-cache", ["depends", meta]))?.[1];
  if (found === undefined) throw new Problem(`apt does not know ${meta}; try "apt-get update"`);
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

/** Puts `file` into the cache, by `get`, unless somebody brought it. */
function provide(file: string, get: () => string): string {
  const path = join(CACHE, file);
  if (!existsSync(path)) copyFileSync(get(), path);
  return path;
}

const hasCommand = (command: string): boolean => spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0;

function main(): void {
  mkdirSync(CACHE, { recursive: true });
  const missing = [...Object.keys(KERNELS), ...Object.keys(PROGRAMS), "busybox"].filter(
    file => !existsSync(join(CACHE, file)),
  );
  if (missing.length > 0 && !["apt-get", "apt-cache", "dpkg-deb"].every(hasCommand)) {
    const names = [
      ...Object.values(KERNELS).map(({ meta }) => meta),
      ...Object.values(PROGRAMS).map(({ name }) => name),
    ];
    const packages = `${names.join(", ")} and ${BUSYBOX}`;
    throw new Problem(`there is no apt here: bring ${missing.join(", ")} from Debian's ${packages} into ${CACHE}`);
  }
  const busybox = provide("busybox", () => extract(BUSYBOX, /(^|\/)bin\/busybox$/));
  for (const [file, kernel] of Object.entries(KERNELS))
    console.log(provide(file, () => extract(kernelPackage(kernel), /^boot\/vmlinuz-/)));
  for (const [file, { name, pattern }] of Object.entries(PROGRAMS))
    console.log(provide(file, () => extract(name, pattern)));
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
  console.error(`guests: ${text.split("\n")[0]}`);
  process.exitCode = 1;
}
