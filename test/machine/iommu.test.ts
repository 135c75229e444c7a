/**
 * Debian's cloud kernel behind a VT-d unit, with its virtio block driver: interrupts and DMA remapped, and no fault. Needs what `npm run guests` fetches,
 * and is left out without it.
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { unpackKernel } from "../../src/firmware/unpack-kernel.ts";
import type { Exit } from "../../src/machine/exit.ts";
import type { Vtd } from "../../src/iommu/vtd.ts";
import { parseIommu } from "../../src/machine/iommu-board.ts";
import { Pc } from "../../src/machine/pc.ts";
import { parseDevice } from "../../src/machine/pci-devices.ts";
import { EVENT } from "../../src/ports/events.ts";
import { initramfs } from "../../tools/guests/initramfs.ts";
import { moduleFolder, modulesFor } from "../../tools/guests/modules.ts";
import { pattern, sha256, sourceOf } from "./pattern-disk.ts";

const CACHE = fileURLToPath(new URL("../../.cache/linux/", import.meta.url));
const KERNEL = `${CACHE}vmlinuz`;
const BUSYBOX = `${CACHE}busybox`;
const MODULES = moduleFolder(CACHE);
const MIB = 1 << 20;
const DISK = MIB;
const CPUS = 4;
/** Several times what a boot takes. */
const LIMIT = 5e9;
const BOOT_MS = 300_000;
const COMPLAINTS =
  /handling fault|fault addr|nobody cared|\blost\b|lockup|WARNING|BUG:|Call Trace|panic|I\/O error|failed to (?:map|alloc)/i;

const NUMBERS = new TextEncoder().encode(Array.from({ length: 20_000 }, (_, i) => `${i + 1}\n`).join(""));

const SCRIPT = `echo "vda $(sha256sum < /dev/vda)"
seq 1 20000 > /tmp/numbers
dd if=/tmp/numbers of=/dev/vda bs=4096 seek=100 conv=fsync 2> /dev/null
echo 3 > /proc/sys/vm/drop_caches
dd if=/dev/vda bs=4096 skip=100 count=40 2> /dev/null | head -c $(stat -c %s /tmp/numbers) | cmp - /tmp/numbers && echo "read back same"
echo "random $(dd if=/dev/hwrng bs=64 count=2 2> /dev/null | wc -c)"
cat /proc/interrupts
sync
echo "END"
poweroff -f
`;

const canRun = existsSync(KERNEL) && existsSync(BUSYBOX) && MODULES !== null;

class Boot {
  readonly pc: Pc;
  text = "";
  /** Events seen, by name. */
  readonly counts = { iommuMiss: 0, iommuFault: 0, iommuInvalidate: 0, irqRemap: 0 };

  constructor(append: string, iommu: string) {
    const args = `console=ttyS0 cryptomgr.notests ${append}`;
    const image = unpackKernel({ name: "vmlinuz", bytes: new Uint8Array(readFileSync(KERNEL)), args });
    const modules = modulesFor(MODULES!, ["virtio_pci", "virtio_blk", "virtio_rng"]);
    const bytes = initramfs(new Uint8Array(readFileSync(BUSYBOX)), SCRIPT, modules);
    this.pc = new Pc({
      cpus: CPUS,
      memory: 256 * MIB,
      image,
      initrd: { name: "initrd", bytes, args: "" },
      onSerial: byte => {
        this.text += String.fromCharCode(byte);
      },
      disks: [{ source: sourceOf(pattern(DISK)) }],
      devices: [parseDevice("virtio-rng")],
      iommu: parseIommu(iommu),
    });
    for (const name of Object.keys(this.counts) as (keyof Boot["counts"])[])
      this.pc.trace.listen({ event: () => void this.counts[name]++ }, [EVENT[name]]);
  }

  run(until = LIMIT): Exit | null {
    for (;;) {
      const exit = this.pc.run(until);
      if (exit !== null || this.pc.retired >= until) return exit;
    }
  }

  /** The unit that sees the virtio devices: the last one. */
  get unit(): Vtd {
    return this.pc.iommu!.units.at(-1)!;
  }

  get lines(): string[] {
    return this.text.split(/\r?\n/);
  }
}

function expectAllWell(boot: Boot): void {
  const { lines, pc } = boot;
  expect(lines).toContain(`vda ${sha256(pattern(DISK))}  -`);
  expect(lines).toContain("read back same");
  expect(lines).toContain("random 128");
  expect(lines).toContain("END");
  expect(lines.filter(line => COMPLAINTS.test(line))).toEqual([]);
  const expected = pattern(DISK);
  expected.set(NUMBERS, 100 * 4096);
  const found = new Uint8Array(DISK);
  pc.disks[0]!.read(0, found, 0, DISK);
  expect(sha256(found)).toBe(sha256(expected));
}

function expectRemapping(boot: Boot): void {
  const { lines, pc } = boot;
  const said = (text: string): boolean => lines.some(line => line.includes(text));
  expect(said("DMAR-IR: Enabled IRQ remapping in x2apic mode")).toBe(true);
  expect(said("x2apic enabled")).toBe(true);
  expect(lines.some(line => /IR-IO-APIC +4-edge +ttyS0/.test(line))).toBe(true);
  expect(lines.some(line => /^ *\d+:.* IR-PCI-MSI .* virtio\d-req/.test(line))).toBe(true);
  expect(lines.some(line => /DMAR-MSI +0-edge +dmar0/.test(line))).toBe(true);
  for (const unit of pc.iommu!.units) expect(unit.interrupts.counts).toMatchObject({ blocked: 0 });
  expect(boot.counts.irqRemap).toBeGreaterThan(100);
  expect(boot.counts.iommuFault).toBe(0);
}

describe.runIf(canRun)("Debian's kernel behind VT-d, on 4 CPUs", () => {
  test.each([
    ["intel_iommu=on", "vtd", "lazy"],
    ["intel_iommu=on iommu.strict=1", "vtd,width=57", "strict"],
    ["intel_iommu=on,sm_on", "vtd,scalable=on", "scalable mode"],
    ["intel_iommu=on", "vtd,own=1+2", "a unit of their own for both"],
  ])(
    "%s (%s): disk and random numbers by translated DMA",
    (append, iommu) => {
      const boot = new Boot(append, iommu);
      expect(boot.run()).toMatchObject({ kind: "power-off", status: 0 });
      expectAllWell(boot);
      expectRemapping(boot);
      expect(boot.text).toContain("Default domain type: Translated");
      expect(boot.unit.dma.counts.misses).toBeGreaterThan(50);
      expect(boot.unit.dma.counts.hits).toBeGreaterThan(50);
      expect(boot.counts.iommuInvalidate).toBeGreaterThan(20);
    },
    BOOT_MS,
  );

  test(
    "iommu=pt: interrupts are remapped, addresses pass through",
    () => {
      const boot = new Boot("intel_iommu=on iommu=pt", "vtd");
      expect(boot.run()).toMatchObject({ kind: "power-off", status: 0 });
      expectAllWell(boot);
      expectRemapping(boot);
      expect(boot.text).toContain("Default domain type: Passthrough");
      expect(boot.unit.dma.counts).toMatchObject({ misses: 0, faults: 0 });
    },
    BOOT_MS,
  );

  test(
    "saved in the middle of its DMA and loaded into another machine, it ends in the same state",
    () => {
      const whole = new Boot("intel_iommu=on", "vtd");
      expect(whole.run()?.kind).toBe("power-off");
      const half = new Boot("intel_iommu=on", "vtd");
      for (let cut = 1_000_003; half.pc.disks[0]!.dirtyChunks === 0; cut += 1_000_003) expect(half.run(cut)).toBeNull();
      const resumed = new Boot("intel_iommu=on", "vtd");
      resumed.pc.load(half.pc.save());
      expect(resumed.run()?.kind).toBe("power-off");
      expect([resumed.pc.retired, resumed.pc.stateHash()]).toEqual([whole.pc.retired, whole.pc.stateHash()]);
      expect(half.text + resumed.text).toBe(whole.text);
    },
    3 * BOOT_MS,
  );
});
