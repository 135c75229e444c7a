/**
 * Debian's amd64 kernel on 4 CPUs behind VT-d, with four engines of four kinds: virtio rings, IDE's PRD tables, the 8237A under the floppy controller, and
 * I/OAT's descriptor chains. Each moves data, and what was written is read back equal. Needs what `npm run guests` fetches, and is left out without it.
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { DmaStats } from "../../src/check/dma-stats.ts";
import { unpackKernel } from "../../src/firmware/unpack-kernel.ts";
import type { Exit } from "../../src/machine/exit.ts";
import { parseIommu } from "../../src/machine/iommu-board.ts";
import { Pc } from "../../src/machine/pc.ts";
import { parseDevice } from "../../src/machine/pci-devices.ts";
import { EVENT } from "../../src/ports/events.ts";
import { initramfs } from "../../tools/guests/initramfs.ts";
import { moduleFolder, modulesFor } from "../../tools/guests/modules.ts";
import { pattern, sha256, sourceOf } from "./pattern-disk.ts";

const CACHE = fileURLToPath(new URL("../../.cache/linux/", import.meta.url));
const KERNEL = `${CACHE}vmlinuz-amd64`;
const BUSYBOX = `${CACHE}busybox`;
const MODULES = moduleFolder(CACHE, "amd64");
const MIB = 1 << 20;
const FLOPPY = 1440 << 10;
const LIMIT = 10e9;
const BOOT_MS = 900_000;
const COMPLAINTS =
  /handling fault|fault addr|nobody cared|\blost\b|lockup|WARNING|BUG:|Call Trace|panic|I\/O error|exception Emask|failed command|[sS]elf.?test.*(fail|timed)|ioatdma.*(error|fail|fatal)/i;

const DISKS = {
  vda: pattern(MIB, 0x9e3779b1),
  sda: pattern(MIB, 0x85ebca6b),
  fd0: pattern(FLOPPY, 0xc2b2ae35),
} as const;
const NUMBERS = new TextEncoder().encode(Array.from({ length: 5000 }, (_, i) => `${i + 1}\n`).join(""));
/** Where the numbers are written, in sectors. */
const PLACE = 720;

const SCRIPT = `echo 1 > /proc/sys/kernel/printk
sleep 1
seq 1 5000 > /tmp/numbers
for disk in vda sda fd0; do
  dd if=/tmp/numbers of=/dev/$disk bs=512 seek=${PLACE} conv=fsync 2> /dev/null || echo "WRITE FAILED $disk"
done
echo 3 > /proc/sys/vm/drop_caches
for disk in vda sda fd0; do echo "$disk $(sha256sum < /dev/$disk)"; done
for channel in /sys/class/dma/*; do echo "channel $(basename $channel) $(cat $channel/device/vendor) $(cat $channel/device/device)"; done
cat /proc/interrupts
dmesg
echo "END"
poweroff -f
`;

class Boot {
  readonly pc: Pc;
  readonly dma = new DmaStats();
  faults = 0;
  text = "";

  constructor(append: string) {
    const args = `console=ttyS0 cryptomgr.notests ${append}`;
    const image = unpackKernel({ name: "vmlinuz", bytes: new Uint8Array(readFileSync(KERNEL)), args });
    const modules = modulesFor(MODULES!, ["virtio_pci", "virtio_blk", "ata_piix", "sd_mod", "floppy", "ioatdma"]);
    const bytes = initramfs(new Uint8Array(readFileSync(BUSYBOX)), SCRIPT, modules);
    this.pc = new Pc({
      cpus: 4,
      memory: 512 * MIB,
      image,
      initrd: { name: "initrd", bytes, args: "" },
      onSerial: byte => {
        this.text += String.fromCharCode(byte);
      },
      disks: [{ source: sourceOf(DISKS.vda) }],
      ide: { disks: [{ source: sourceOf(DISKS.sda) }] },
      floppies: [{ source: sourceOf(DISKS.fd0) }],
      devices: [parseDevice("ioat")],
      iommu: parseIommu("vtd"),
    });
    this.pc.trace.listen(this.dma, DmaStats.KINDS);
    this.pc.trace.listen({ event: () => void this.faults++ }, [EVENT.iommuFault]);
  }

  run(): Exit | null {
    for (;;) {
      const exit = this.pc.run(LIMIT);
      if (exit !== null || this.pc.retired >= LIMIT) return exit;
    }
  }
}

/** Bytes that the functions with this vendor and device number have moved. */
function moved({ pc, dma }: Boot, id: number): number {
  return dma
    .requesters()
    .filter(({ requester }) => pc.pci.root.read(requester >> 8, requester & 255, 0, 4) === id)
    .reduce((sum, { reads, writes }) => sum + reads.bytes + writes.bytes, 0);
}

describe.runIf(existsSync(KERNEL) && existsSync(BUSYBOX) && MODULES !== null)("amd64 on 4 CPUs behind VT-d", () => {
  test.each(["intel_iommu=on", "intel_iommu=on iommu.strict=1"])(
    "%s: virtio, IDE, floppy and I/OAT move data, self-tests pass, and no fault is recorded",
    append => {
      const boot = new Boot(append);
      expect(boot.run()).toMatchObject({ kind: "power-off", status: 0 });
      const lines = boot.text.split(/\r?\n/);
      for (const [name, bytes] of Object.entries(DISKS)) {
        const expected = bytes.slice();
        expected.set(NUMBERS, PLACE * 512);
        expect(lines).toContain(`${name} ${sha256(expected)}  -`);
      }
      expect(lines).toContain("channel dma0chan0 0x8086 0x0c50");
      expect(lines.filter(line => COMPLAINTS.test(line) || line.startsWith("WRITE FAILED"))).toEqual([]);
      expect(boot.text).toContain("DMAR-IR: Enabled IRQ remapping in x2apic mode");
      expect(boot.faults).toBe(0);
      expect(moved(boot, 0x10421af4)).toBeGreaterThan(MIB);
      expect(moved(boot, 0x71118086)).toBeGreaterThan(MIB);
      expect(moved(boot, 0x29188086)).toBeGreaterThan(FLOPPY);
      // The driver's own copy test moves 2000 bytes in and out; its XOR test some pages.
      expect(moved(boot, 0x0c508086)).toBeGreaterThan(10_000);
    },
    BOOT_MS,
  );
});
