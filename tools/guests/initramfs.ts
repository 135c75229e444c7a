/** An initramfs with busybox, a script as /init, and kernel modules that it loads first. */
import { cpio, type Entry } from "./cpio.ts";
import type { KernelModule } from "./modules.ts";

const START = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/
mount -t proc proc /proc
mount -t sysfs sys /sys
`;

/** Devices appear by themselves. */
const DEVICES = "mount -t devtmpfs dev /dev\n";

/**
 * @param script what /init does after mounting /proc and /sys, and /dev when there are modules
 * @param modules are loaded in this order before the script goes on
 */
export function initramfs(busybox: Uint8Array, script: string, modules: readonly KernelModule[] = []): Uint8Array {
  const entries: Entry[] = ["bin", "dev", "proc", "sys", "tmp"].map(path => ({ kind: "directory", path }));
  entries.push({ kind: "device", path: "dev/console", major: 5, minor: 1 });
  entries.push({ kind: "device", path: "dev/null", major: 1, minor: 3 });
  entries.push({ kind: "device", path: "dev/kmsg", major: 1, minor: 11 });
  entries.push({ kind: "device", path: "dev/ttyS0", major: 4, minor: 64 });
  entries.push({ kind: "file", path: "bin/busybox", bytes: busybox, mode: 0o755 });
  if (modules.length > 0) entries.push({ kind: "directory", path: "modules" });
  for (const { name, bytes } of modules) entries.push({ kind: "file", path: `modules/${name}.ko`, bytes });
  const load = modules.map(({ name }) => `insmod /modules/${name}.ko\n`).join("");
  const init = START + (modules.length > 0 ? DEVICES : "") + load + script;
  entries.push({ kind: "file", path: "init", bytes: new TextEncoder().encode(init), mode: 0o755 });
  return cpio(entries);
}
