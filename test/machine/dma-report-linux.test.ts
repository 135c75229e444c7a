/**
 * What the report and the Perfetto trace say of Debian's cloud kernel with its virtio block driver, behind a VT-d unit and on a modelled bus: from the doorbell
 * to the handler. Needs what `npm run guests` fetches, and is left out without it.
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { DmaStats } from "../../src/check/dma-stats.ts";
import { InterruptStats } from "../../src/check/interrupt-stats.ts";
import { boardCounts } from "../../src/cli/board-counts.ts";
import { eventNames } from "../../src/cli/event-names.ts";
import { PerfettoTrace } from "../../src/export/perfetto.ts";
import { packets } from "../../src/export/perfetto-reader.testing.ts";
import { makeReport } from "../../src/export/report.ts";
import { reportText } from "../../src/export/report-text.ts";
import { unpackKernel } from "../../src/firmware/unpack-kernel.ts";
import type { Exit } from "../../src/machine/exit.ts";
import { parseIommu } from "../../src/machine/iommu-board.ts";
import { Pc } from "../../src/machine/pc.ts";
import type { PcOptions } from "../../src/machine/pc-options.ts";
import { EVENT } from "../../src/ports/events.ts";
import { initramfs } from "../../tools/guests/initramfs.ts";
import { moduleFolder, modulesFor } from "../../tools/guests/modules.ts";

const CACHE = fileURLToPath(new URL("../../.cache/linux/", import.meta.url));
const [KERNEL, BUSYBOX] = [`${CACHE}vmlinuz`, `${CACHE}busybox`];
const MODULES = moduleFolder(CACHE);
const MIB = 1 << 20;
const LIMIT = 5e9;
const BOOT_MS = 600_000;
const SCRIPT = `dd if=/dev/vda of=/dev/null bs=65536 2> /dev/null && echo "read all"
grep virtio0-req /proc/interrupts
poweroff -f
`;
const DRIVERS = ["virtio_pci", "virtio_blk"];
const BUS: PcOptions["bus"] = { policy: "round-robin", bandwidth: 100 * MIB, turnaroundNs: 0, terms: new Map() };
/** The disk's requester id follows from its place: the first free one of bus 0. */
const DISK = "virtio-blk";

function boot(): { pc: Pc; text: () => string } {
  const image = unpackKernel({
    name: "vmlinuz",
    bytes: new Uint8Array(readFileSync(KERNEL)),
    args: "console=ttyS0 quiet cryptomgr.notests intel_iommu=on iommu.strict=1",
  });
  const bytes = initramfs(new Uint8Array(readFileSync(BUSYBOX)), SCRIPT, modulesFor(MODULES!, DRIVERS));
  let text = "";
  const source = {
    name: "disk",
    bytes: MIB,
    read: (position: number, into: Uint8Array, at: number, length: number) => void into.fill(position, at, at + length),
  };
  const pc = new Pc({
    ...{ cpus: 2, memory: 256 * MIB, image, disks: [{ source }], bus: BUS, iommu: parseIommu("vtd") },
    initrd: { name: "initrd", bytes, args: "" },
    onSerial: byte => {
      text += String.fromCharCode(byte);
    },
  });
  return { pc, text: () => text };
}

describe.runIf(existsSync(KERNEL) && existsSync(BUSYBOX) && MODULES !== null)("Debian reads a virtio disk", () => {
  test(
    "the report and the trace tell of it from doorbell to handler",
    () => {
      const { pc, text } = boot();
      const [stats, dma] = [new InterruptStats(2), new DmaStats()];
      pc.trace.listen(stats, InterruptStats.KINDS);
      pc.trace.listen(dma, DmaStats.KINDS);
      const chunks: Uint8Array[] = [];
      const perfetto = new PerfettoTrace(eventNames(pc), chunk => chunks.push(chunk));
      const { doorbell, descriptor, completion, msi, irqRemap, iommuMiss, lapicAccept, interrupt } = EVENT;
      pc.trace.listen(perfetto, [doorbell, descriptor, completion, msi, irqRemap, iommuMiss, lapicAccept, interrupt]);
      let exit: Exit | null = null;
      while (exit === null && pc.retired < LIMIT) exit = pc.run(LIMIT);
      perfetto.finish();
      expect(exit).toMatchObject({ kind: "power-off" });
      expect(text()).toContain("read all");
      const told = { instructions: pc.retired, virtualNs: pc.clock.now(), exit: exit!, stateHash: null, inputs: [] };
      const report = makeReport({ ...told, notes: [], ...boardCounts(pc) }, stats, eventNames(pc), dma);

      const lines = reportText(report);
      if (process.env.IRETQ_SHOW !== undefined) process.stderr.write(`${lines.join("\n")}\n`);

      const disk = report.dma.find(({ name }) => name.startsWith(DISK))!;
      const [queue] = disk.queues;
      // All of the disk was written to memory, behind the unit, and nothing was refused.
      expect(disk.writes.bytes).toBeGreaterThanOrEqual(MIB);
      expect(disk.failures).toEqual({ masterAborts: 0, targetAborts: 0, iommuFaults: 0, disabled: 0 });
      expect(queue!.completions).toBe(queue!.descriptors);
      expect(queue!.errors).toBe(0);
      expect(queue!.bytes).toBeGreaterThanOrEqual(MIB);
      // A request takes 10 µs at least.
      expect(queue!.latencyNs.min).toBeGreaterThanOrEqual(10_000);

      const [unit] = report.iommu;
      expect(unit).toMatchObject({ faults: 0, blockedInterrupts: 0, faultsNotRecorded: 0 });
      // Every page of the data is mapped anew (strict), and walked for once; the ring is found again.
      expect(unit!.iotlbMisses).toBeGreaterThanOrEqual(MIB / 4096);
      expect(unit!.iotlbHits).toBeGreaterThanOrEqual(2 * queue!.completions);
      // As many of the disk's interrupts as Linux counted, named after it.
      const line = /virtio0-req/.test(text())
        ? text()
            .split(/\r?\n/)
            .find(one => one.includes("virtio0-req"))!
        : "";
      const [, first = "0", second = "0"] = /^ *\d+: +(\d+) +(\d+)/.exec(line) ?? [];
      const sources = report.interrupts
        .flatMap(each => each.sources)
        .filter(({ name }) => name === `MSI of ${disk.name}`);
      expect(sources.reduce((sum, { count }) => sum + count, 0)).toBe(Number(first) + Number(second));
      expect(Number(first) + Number(second)).toBeGreaterThan(5);
      expect(unit!.remappedInterrupts).toBeGreaterThanOrEqual(Number(first) + Number(second));

      const share = report.bus!.shares.find(({ name }) => name === DISK)!;
      expect(share.bytes).toBe(queue!.bytes);

      const { events, tracks } = packets(chunks);
      const flows = (track: RegExp, name: RegExp) =>
        new Set(events.filter(event => track.test(event.track) && name.test(event.name)).flatMap(event => event.flows));
      const begun = flows(/^queue 0$/, /^doorbell/);
      const done = [...flows(/^queue 0$/, /^done/)].filter(flow => begun.has(flow));
      const handled = flows(/handlers$/, /^vector/);
      expect(done.length).toBeGreaterThan(5);
      expect(done.filter(flow => handled.has(flow)).length).toBeGreaterThan(0.9 * done.length);
      expect([...tracks.values()].some(({ name }) => name === disk.name)).toBe(true);

      expect(lines.some(row => /^vtd: IOTLB \d+ hits, \d+ misses; faults: 0; /.test(row))).toBe(true);
    },
    BOOT_MS,
  );
});
