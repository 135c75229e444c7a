/**
 * Boots Debian's kernels for the tests beside this file: what `npm run guests` fetched, the boots that must succeed, and the same on QEMU.
 */
import { spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { InterruptStats, type VectorStats } from "../../src/check/interrupt-stats.ts";
import type { DiskSource } from "../../src/devices/disk-image.ts";
import type { BootFile, LinuxEntry } from "../../src/firmware/boot-plan.ts";
import { unpackKernel } from "../../src/firmware/unpack-kernel.ts";
import type { OptionalPart } from "../../src/machine/board-facts.ts";
import type { Exit } from "../../src/machine/exit.ts";
import { Pc } from "../../src/machine/pc.ts";
import { parseDevice } from "../../src/machine/pci-devices.ts";
import { initramfs } from "../../tools/guests/initramfs.ts";
import { moduleFolder, modulesFor } from "../../tools/guests/modules.ts";
import { SCRIPTS } from "../../tools/guests/scripts.ts";

const folder = fileURLToPath(new URL("../../.cache/linux/", import.meta.url));
export const KERNEL = { cloud: `${folder}vmlinuz`, amd64: `${folder}vmlinuz-amd64` } as const;
export const INITRD = `${folder}initrd-check.img`;
const MODULES = moduleFolder(folder);
export const canBoot = ({ kernel, modules }: Case): boolean =>
  existsSync(KERNEL[kernel]) && existsSync(INITRD) && (modules === undefined || MODULES !== null);

const MIB = 1 << 20;
const MEMORY_MIB = 256;
/** Several times what a boot takes. */
const LIMIT = 4e9;
/** For one boot, on a machine that has other things to do. */
export const BOOT_MS = 300_000;

export type Case = {
  readonly kernel: keyof typeof KERNEL;
  readonly cpus: number;
  /** Kernel parameters besides the console. */
  readonly append?: string;
  /** How it starts, where that is not by the 64-bit entry. */
  readonly entry?: LinuxEntry;
  readonly without?: readonly OptionalPart[];
  /** PCI functions to add, as after `--device`, a disk of a MiB, and the kernel modules for all of them. */
  readonly devices?: readonly string[];
  readonly modules?: readonly string[];
  /** QEMU's machine, where it is not a plain Q35. */
  readonly qemu?: string;
  /** Without ACPI a guest can only reset. */
  readonly end?: Exit["kind"];
};

/** The boots that must succeed, none with an option that helps it over something. */
export const CASES: readonly Case[] = [
  { kernel: "cloud", cpus: 1 },
  { kernel: "cloud", cpus: 4 },
  { kernel: "cloud", cpus: 2, entry: "pvh" },
  { kernel: "cloud", cpus: 1, append: "noapic nolapic" },
  { kernel: "cloud", cpus: 1, append: "nohpet" },
  { kernel: "cloud", cpus: 4, without: ["hpet", "pm-timer"], qemu: "q35,hpet=off" },
  { kernel: "cloud", cpus: 4, devices: ["virtio-rng"], modules: ["virtio_pci", "virtio_rng", "virtio_blk"] },
  { kernel: "amd64", cpus: 4 },
  { kernel: "amd64", cpus: 4, append: "acpi=off", end: "reset" },
];

export const nameOf = ({ kernel, cpus, append = "", entry, without = [], devices = [] }: Case): string =>
  [
    `${kernel}, ${cpus} CPU${cpus === 1 ? "" : "s"}`,
    append,
    entry ?? "",
    ...without.map(part => `without ${part}`),
    ...devices,
  ]
    .filter(text => text !== "")
    .join(", ");

/** The console is slow, and the self tests of the cryptographic library are half of a boot. */
const commandLine = ({ append = "" }: Case): string => `console=ttyS0 cryptomgr.notests ${append}`.trim();

const file = (path: string, args = "") => ({
  name: path.split("/").at(-1)!,
  bytes: new Uint8Array(readFileSync(path)),
  args,
});
/** Unpacking takes seconds; a test file does it once. */
const unpacked = new Map<string, ReturnType<typeof unpackKernel>>();
function kernelImage({ kernel }: Case, args: string): ReturnType<typeof unpackKernel> {
  const image = unpacked.get(kernel) ?? unpackKernel(file(KERNEL[kernel]));
  unpacked.set(kernel, image);
  return { ...image, args };
}

const DISK: DiskSource = {
  name: "pattern",
  bytes: MIB,
  read: (position, into, offset, length) => into.fill(position >>> 9, offset, offset + length),
};

function initrdOf({ modules }: Case): BootFile {
  if (modules === undefined) return file(INITRD);
  const busybox = new Uint8Array(readFileSync(`${folder}busybox`));
  return { name: "initrd", bytes: initramfs(busybox, SCRIPTS.check, modulesFor(MODULES!, modules)), args: "" };
}

/** What our report says at some instant. */
export type Counts = {
  readonly vectors: readonly VectorStats[];
  readonly nmis: number;
  readonly spuriousApic: number;
  readonly spuriousPic: number;
};

/** One machine; its kernel's marks (see tools/guests/linux.ts) are the instants at which `marks` keeps the counts. */
export class Boot {
  readonly pc: Pc;
  readonly marks = new Map<string, Counts>();
  text = "";
  readonly #stats: InterruptStats;
  #line = "";

  constructor(boot: Case) {
    const { cpus, entry = null, without = [], devices = [], end } = boot;
    this.#stats = new InterruptStats(cpus);
    this.pc = new Pc({
      cpus,
      memory: MEMORY_MIB * MIB,
      image: kernelImage(boot, commandLine(boot)),
      initrd: initrdOf(boot),
      entry,
      without,
      devices: devices.map(parseDevice),
      disks: devices.length > 0 ? [{ source: DISK }] : [],
      noReboot: end === "reset",
      onSerial: byte => this.#put(byte),
    });
    this.pc.trace.listen(this.#stats, InterruptStats.KINDS);
  }

  #put(byte: number): void {
    const character = String.fromCharCode(byte);
    this.text += character;
    if (character !== "\n") {
      this.#line += character;
      return;
    }
    const mark = /MARK (\w+ \d)/.exec(this.#line)?.[1];
    if (mark !== undefined) this.marks.set(mark, this.counts());
    this.#line = "";
  }

  counts(): Counts {
    const { nmis, spuriousApic, spuriousPic } = this.#stats;
    return { vectors: this.#stats.vectors(), nmis, spuriousApic, spuriousPic };
  }

  run(until = LIMIT): Exit | null {
    for (;;) {
      const exit = this.pc.run(until);
      if (exit !== null || this.pc.retired >= until) return exit;
    }
  }

  get lines(): string[] {
    return linesOf(this.text);
  }
}

export const linesOf = (text: string): string[] => text.split(/\r*\n/);

export const hasQemu = spawnSync("qemu-system-x86_64", ["--version"]).error === undefined;

/** What the same kernel prints on QEMU (TCG), with as many CPUs of the nearest model that it has. */
export function bootOnQemu(boot: Case): Promise<string[]> {
  const args = ["-M", boot.qemu ?? "q35", "-cpu", "Nehalem", "-accel", "tcg", "-m", `${MEMORY_MIB}`];
  args.push("-smp", `${boot.cpus}`, "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio");
  args.push("-kernel", KERNEL[boot.kernel], "-initrd", INITRD, "-append", commandLine(boot));
  // Into a file: QEMU's serial port loses characters when a pipe is full, as it is while this process boots the same kernel.
  const path = join(mkdtempSync(join(tmpdir(), "iretq-qemu-")), "log");
  const log = openSync(path, "w");
  return new Promise((resolve, reject) => {
    const child = spawn("qemu-system-x86_64", args, { stdio: ["ignore", log, "ignore"] });
    const timer = setTimeout(() => child.kill("SIGKILL"), BOOT_MS / 2);
    child.on("error", reject);
    child.on("close", () => {
      clearTimeout(timer);
      closeSync(log);
      resolve(linesOf(readFileSync(path, "latin1")));
      rmSync(dirname(path), { recursive: true });
    });
  });
}
