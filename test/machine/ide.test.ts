/**
 * libata's ata_piix of Debian's cloud kernel on the PIIX4's IDE function: disks and a CD by Ultra DMA. Needs what `npm run guests` fetches, and is left out
 * without it.
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { DmaStats } from "../../src/check/dma-stats.ts";
import { unpackKernel } from "../../src/firmware/unpack-kernel.ts";
import type { Exit } from "../../src/machine/exit.ts";
import { Pc } from "../../src/machine/pc.ts";
import { EVENT } from "../../src/ports/events.ts";
import { initramfs } from "../../tools/guests/initramfs.ts";
import { moduleFolder, modulesFor } from "../../tools/guests/modules.ts";
import { pattern, sha256, sourceOf } from "./pattern-disk.ts";

const CACHE = fileURLToPath(new URL("../../.cache/linux/", import.meta.url));
const KERNEL = `${CACHE}vmlinuz`;
const BUSYBOX = `${CACHE}busybox`;
const MIB = 1 << 20;
const DISK = 4 * MIB;
const CD = 2 * MIB;
/** Several times what a boot takes. */
const LIMIT = 6e9;
const BOOT_MS = 600_000;
const COMPLAINTS =
  /spurious|nobody cared|\blost\b|lockup|WARNING|BUG:|Call Trace|panic|I\/O error|exception Emask|failed command|SError|limiting speed|soft reset failed|timeout/i;

const MODULES = moduleFolder(CACHE);

const FIRST = pattern(DISK, 0x9e3779b1);
const DISC = pattern(CD, 0x85ebca6b);
const NUMBERS = new TextEncoder().encode(Array.from({ length: 20_000 }, (_, i) => `${i + 1}\n`).join(""));

/** The disk and the disc are read; the disk is written and read back past the page cache; a file system is made and used on the second disk. */
const SCRIPT = `mkdir /mnt
sleep 1
A=$(basename /sys/bus/scsi/devices/0:0:0:0/block/*)
B=$(basename /sys/bus/scsi/devices/0:0:1:0/block/*)
echo "first $(cat /sys/block/$A/size) $(sha256sum < /dev/$A)"
echo "sr0 $(cat /sys/block/sr0/size) $(sha256sum < /dev/sr0)"
seq 1 20000 > /tmp/numbers
dd if=/tmp/numbers of=/dev/$A bs=4096 seek=100 conv=fsync 2> /dev/null
dd if=/tmp/numbers of=/dev/$A bs=512 seek=3001 count=3 conv=fsync 2> /dev/null
echo 3 > /proc/sys/vm/drop_caches
echo "read back $(dd if=/dev/$A bs=4096 skip=100 count=40 2> /dev/null | head -c $(stat -c %s /tmp/numbers) | cmp - /tmp/numbers && echo same)"
echo "first now $(sha256sum < /dev/$A)"
mke2fs /dev/$B > /dev/null 2>&1
mount -t ext4 /dev/$B /mnt && cp /tmp/numbers /mnt/numbers && umount /mnt
mount -t ext4 /dev/$B /mnt && cmp /mnt/numbers /tmp/numbers && echo "file system good"
umount /mnt
sync
echo 3 > /proc/sys/vm/drop_caches
sleep 0.2
echo "MARK begin"
dd if=/dev/$A of=/dev/null bs=65536 count=32 iflag=direct 2> /dev/null
echo "MARK end"
sleep 0.2
echo "MARK interrupts"
grep ata_piix /proc/interrupts
echo "END"
dmesg
poweroff -f
`;

/** What the host's side of the cables has seen so far. */
type Counts = { edges: [number, number]; doorbells: number; bytes: number; reads: number; writes: number };
const IDE_PORTS = [0x1f0, 0x3f6, 0x170, 0x376];

class Boot {
  readonly pc: Pc;
  readonly dma = new DmaStats();
  readonly marks = new Map<string, Counts>();
  text = "";
  readonly #counts: Counts = { edges: [0, 0], doorbells: 0, bytes: 0, reads: 0, writes: 0 };
  #busMaster = -1;

  constructor(cpus: number) {
    const bytes = new Uint8Array(readFileSync(KERNEL));
    const image = unpackKernel({ name: "vmlinuz", bytes, args: "console=ttyS0 quiet cryptomgr.notests" });
    const modules = modulesFor(MODULES!, ["ata_piix", "sd_mod", "sr_mod"]);
    const initrd = initramfs(new Uint8Array(readFileSync(BUSYBOX)), SCRIPT, modules);
    this.pc = new Pc({
      ...{ cpus, memory: 256 * MIB, image, initrd: { name: "initrd", bytes: initrd, args: "" } },
      ide: {
        disks: [{ source: sourceOf(FIRST) }, { source: sourceOf(new Uint8Array(DISK)) }],
        cdroms: [{ source: sourceOf(DISC) }],
      },
      onSerial: byte => this.#put(byte),
    });
    this.#busMaster = this.pc.pci.root.read(0, IDE_DEVFN, 0x20, 4) & ~3;
    this.pc.trace.listen(this.dma, DmaStats.KINDS);
    const event = (_time: number, kind: number, subject: number, a: number, b: number) =>
      this.#event(kind, subject, a, b);
    const { lineLevel, doorbell, completion, portRead, portWrite } = EVENT;
    this.pc.trace.listen({ event }, [lineLevel, doorbell, completion, portRead, portWrite]);
  }

  #event(kind: number, subject: number, a: number, b: number): void {
    const counts = this.#counts;
    if (kind === EVENT.lineLevel) {
      if ((subject === 14 || subject === 15) && a === 1) counts.edges[subject - 14]!++;
    } else if (kind === EVENT.doorbell) counts.doorbells++;
    else if (kind === EVENT.completion) counts.bytes += b;
    else if (IDE_PORTS.includes(a & ~7) || IDE_PORTS.includes(a) || (a & ~15) === this.#busMaster) {
      if (kind === EVENT.portRead) counts.reads++;
      else counts.writes++;
    }
  }

  #put(byte: number): void {
    this.text += String.fromCharCode(byte);
    const mark = byte === 10 ? /MARK (\w+)\r*\n$/.exec(this.text)?.[1] : undefined;
    if (mark !== undefined) this.marks.set(mark, structuredClone(this.#counts));
  }

  run(): Exit | null {
    let exit: Exit | null = null;
    while (exit === null && this.pc.retired < LIMIT) exit = this.pc.run(LIMIT);
    if (process.env.IRETQ_SHOW !== undefined) process.stderr.write(this.text);
    return exit;
  }

  get lines(): string[] {
    return this.text.split(/\r*\n/);
  }

  /** Of a line of /proc/interrupts, all CPUs together. */
  counted(irq: number): number {
    const row = new RegExp(`^ *${irq}:((?: +\\d+)+) .*ata_piix`).exec(
      this.lines.find(line => line.trimStart().startsWith(`${irq}:`)) ?? "",
    );
    return (row?.[1] ?? "")
      .trim()
      .split(/ +/)
      .reduce((sum, text) => sum + Number(text), 0);
  }
}

/** The first device that firmware places. */
const IDE_DEVFN = 1 << 3;

function expectedDisk(): Uint8Array {
  const bytes = FIRST.slice();
  bytes.set(NUMBERS, 100 * 4096);
  bytes.set(NUMBERS.subarray(0, 3 * 512), 3001 * 512);
  return bytes;
}

function expectAllWell(boot: Boot): void {
  const { lines, pc } = boot;
  expect(lines).toContain(`first ${DISK / 512} ${sha256(FIRST)}  -`);
  expect(lines).toContain(`sr0 ${CD / 512} ${sha256(DISC)}  -`);
  expect(lines).toContain("read back same");
  expect(lines).toContain(`first now ${sha256(expectedDisk())}  -`);
  expect(lines).toContain("file system good");
  expect(lines).toContain("END");
  expect(lines.filter(line => COMPLAINTS.test(line))).toEqual([]);
  const [image, second, disc] = pc.pci.ide.images;
  const onDisk = new Uint8Array(DISK);
  image!.read(0, onDisk, 0, DISK);
  expect(sha256(onDisk)).toBe(sha256(expectedDisk()));
  expect([second!.dirtyChunks > 0, disc!.dirtyChunks]).toEqual([true, 0]);
  // Ultra DMA mode 2 on all three drives: UDMACTL and UDMATIM.
  expect([pc.pci.root.read(0, IDE_DEVFN, 0x48, 1), pc.pci.root.read(0, IDE_DEVFN, 0x4a, 2)]).toEqual([7, 0x0222]);
  const { edges } = boot.marks.get("interrupts")!;
  expect([boot.counted(14), boot.counted(15)]).toEqual(edges);
  const ide = boot.dma.requesters().find(({ requester }) => requester === IDE_DEVFN)!;
  expect(ide.queues.map(({ doorbells, completions, errors }) => [doorbells === completions, errors])).toEqual([
    [true, 0],
    [true, 0],
  ]);
  expect(ide.writes.bytes).toBeGreaterThanOrEqual(DISK + DISK + CD);
  expect(ide.failures).toEqual({ masterAborts: 0, targetAborts: 0, iommuFaults: 0, disabled: 0 });
}

describe.runIf(MODULES !== null && existsSync(KERNEL) && existsSync(BUSYBOX))("Debian's ata_piix", () => {
  test(
    "on 4 CPUs, disks and a CD by Ultra DMA: bytes are equal, interrupts 14 and 15 are counted alike, nothing is complained about; twice the same state",
    () => {
      const boot = new Boot(4);
      expect(boot.run()).toMatchObject({ kind: "power-off", status: 0 });
      expectAllWell(boot);
      const [begin, end] = [boot.marks.get("begin")!, boot.marks.get("end")!];
      const per = (what: "reads" | "writes"): number => (end[what] - begin[what]) / (end.doorbells - begin.doorbells);
      // 64 KiB a request: one interrupt each.
      expect([end.doorbells - begin.doorbells, end.bytes - begin.bytes]).toEqual([32, 32 * 65536]);
      expect(end.edges[0] - begin.edges[0]).toBe(32);
      // What this driver does for a request, for drivers of our own to be compared with. Writes: device twice, features, count and three of the address, command;
      // table, direction, start, stop, bus master status. Reads: status and alternate status seven times, the bus master's command four times and status twice.
      expect([per("writes"), per("reads")]).toEqual([13, 13]);
      const again = new Boot(4);
      again.run();
      expect(again.pc.stateHash()).toBe(boot.pc.stateHash());
    },
    BOOT_MS,
  );
});
