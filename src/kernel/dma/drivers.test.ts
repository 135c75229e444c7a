/** Drivers with DMA: the 8237A, the floppy disk controller, I/OAT. On machines with all kinds of caches and with remapping. */
import { describe, expect, test } from "vitest";
import type { ScenarioOptions } from "../../machine/scenario.ts";
import { parseIommu } from "../../machine/iommu-board.ts";
import { EVENT } from "../../ports/events.ts";
import { COST_TABLES } from "../../ports/cost-tables.ts";
import type { Task } from "../../ports/task.ts";
import { FloppyDriver } from "../drivers/floppy.ts";
import { I8237Driver } from "../drivers/i8237.ts";
import { IdeDriver } from "../drivers/ide.ts";
import { IoatDriver, pairSegments } from "../drivers/ioat.ts";
import { type IommuDomain, IommuUnit } from "../iommu-domain.ts";
import { RemappingComposer } from "../interrupt-remapping.ts";
import { PciFunction } from "../pci.ts";
import { codeOf, dmaRun, type DmaRig, fill, pattern, readBytes } from "./dma-rig.testing.ts";

const VTD_BASE = 0xfed90000;
const IOAT_PLACE = "ioat,addr=5";
const ISA_BRIDGE = 0xf8;

type Machine = { readonly name: string; readonly options: ScenarioOptions; readonly iommu: boolean };
const MACHINES: readonly Machine[] = [];
for (const caches of [undefined, { coherent: true, storeBuffer: true }, { coherent: false, storeBuffer: true }])
  for (const iommu of [false, true])
    (MACHINES as Machine[]).push({
      name: `${caches === undefined ? "no" : caches.coherent ? "coherent" : "non-coherent"} caches${iommu ? ", VT-d" : ""}`,
      options: {
        ...(caches === undefined ? {} : { caches }),
        devices: [IOAT_PLACE],
        board: iommu ? { iommu: parseIommu("vtd,intremap=off") } : {},
      },
      iommu,
    });

/** A domain for `requester`, null on a machine without remapping. */
function* domainFor(rig: DmaRig, iommu: boolean, requester: number): Task<IommuDomain | null> {
  if (!iommu) return null;
  const unit = new IommuUnit({ base: VTD_BASE, memory: rig.memory });
  yield* unit.initialise();
  const domain = yield* unit.createDomain();
  yield* unit.configureDeviceIommu(requester, domain);
  return domain;
}

function* ioat(rig: DmaRig, iommu: boolean, ring = 64): Task<IoatDriver> {
  const domain = yield* domainFor(rig, iommu, 5 << 3);
  const driver = new IoatDriver(new PciFunction(0, 5), rig.device({ domain }), { ring });
  yield* driver.begin(rig.kernel);
  return driver;
}

describe.each(MACHINES)("I/OAT with $name", ({ options, iommu }) => {
  test("scattered buffers are copied with one interrupt per request, also over the end of the ring", () => {
    let out: number[] = [];
    let interrupts = 0;
    const { run } = dmaRun(options, function* (rig) {
      const driver = yield* ioat(rig, iommu, 8);
      const [a, b, c] = [0, 1, 2].map(() => rig.memory.allocate(4096, { alignment: 4096 })) as [number, number, number];
      for (let round = 0; round < 6; round++) {
        const bytes = pattern(3000, round);
        yield* fill(a, bytes.slice(0, 1000));
        yield* fill(b + 96, bytes.slice(1000));
        yield* driver.copy(
          [
            { address: a, bytes: 1000 },
            { address: b + 96, bytes: 2000 },
          ],
          [{ address: c + 64, bytes: 3000 }],
        );
        out = yield* readBytes(c + 64, 3000);
        expect(out).toEqual(bytes);
      }
      interrupts = driver.interrupts;
    });
    expect(run.exit.kind).toBe("power-off");
    expect(out.length).toBe(3000);
    expect(interrupts).toBe(6);
  });
});

describe("I/OAT", () => {
  test("an address without memory ends the request with -EIO and the engine's error; the next request is good", () => {
    const seen: unknown[] = [];
    dmaRun({ devices: [IOAT_PLACE] }, function* (rig) {
      const driver = yield* ioat(rig, false);
      const at = rig.memory.allocate(4096);
      const { channel } = driver;
      let status: number | null = null;
      const setup = {
        regions: [],
        onCompletion: (_: unknown, result: number): undefined => {
          status = result;
        },
      };
      const steps = [
        { source: at, destination: at + 1024, bytes: 512 },
        { source: at, destination: 2 ** 40, bytes: 64 },
      ];
      yield* channel.configureScatterGatherDma(steps, setup);
      yield* channel.startDmaTransfer();
      expect(yield* codeOf(channel.startDmaTransfer())).toBe("EBUSY");
      expect(yield* codeOf(channel.configureScatterGatherDma(steps, setup))).toBe("EBUSY");
      while (status === null) yield* readBytes(at, 1);
      seen.push(status, channel.active, channel.bytesTransferred, channel.errorFlags !== 0);
      yield* fill(at, pattern(100));
      yield* driver.copy([{ address: at, bytes: 100 }], [{ address: at + 2048, bytes: 100 }]);
      seen.push(yield* readBytes(at + 2048, 100));
      expect(yield* codeOf(channel.startDmaTransfer())).toBe("EINVAL");
      expect(yield* codeOf(channel.configureScatterGatherDma([], setup))).toBe("EINVAL");
      expect(yield* codeOf(channel.configure(0, 0, { bus: at, bytes: 64 }, setup))).toBe("EINVAL");
    });
    // The first descriptor was carried out, the second one was not.
    expect(seen).toEqual([-5, false, 512, true, pattern(100)]);
  });

  test("lists of different cuts are paired step by step", () => {
    const from = [
      { bus: 0, bytes: 100 },
      { bus: 1000, bytes: 200 },
    ];
    const to = [{ bus: 5000, bytes: 300 }];
    expect(pairSegments(from, to, 128)).toEqual([
      { source: 0, destination: 5000, bytes: 100 },
      { source: 1000, destination: 5100, bytes: 128 },
      { source: 1128, destination: 5228, bytes: 72 },
    ]);
    expect(() => pairSegments(from, [{ bus: 0, bytes: 299 }], 128)).toThrow(/EINVAL/);
  });

  test("a request costs two register writes besides the EOI, and one interrupt", () => {
    const marks: number[] = [];
    const { run } = dmaRun(
      { devices: [IOAT_PLACE], costs: COST_TABLES.desktop },
      function* (rig) {
        const driver = yield* ioat(rig, false);
        const at = rig.memory.allocate(8192);
        marks.push(rig.machine.pc.clock.now());
        for (let i = 0; i < 10; i++)
          yield* driver.copy([{ address: at, bytes: 4096 }], [{ address: at + 4096, bytes: 4096 }]);
        marks.push(rig.machine.pc.clock.now());
      },
      [EVENT.mmioWrite, EVENT.mmioRead, EVENT.interrupt],
    );
    const during = run.events.filter(({ time }) => time >= marks[0]! && time < marks[1]!);
    const ofApic = ({ a }: { a: number }): boolean => Math.floor(a / 4096) === 0xfee00;
    expect(during.filter(event => event.kind === EVENT.mmioWrite && !ofApic(event)).length).toBe(20);
    expect(during.filter(event => event.kind === EVENT.mmioWrite && ofApic(event)).length).toBe(10);
    expect(during.filter(({ kind }) => kind === EVENT.mmioRead).length).toBe(0);
    expect(during.filter(({ kind }) => kind === EVENT.interrupt).length).toBe(10);
  });
});

const disk = Uint8Array.from(pattern(2880 * 512));
const source = {
  name: "a.img",
  bytes: disk.length,
  read: (position: number, into: Uint8Array, offset: number, length: number) =>
    into.set(disk.subarray(position, position + length), offset),
};

describe.each(MACHINES)("8237A and floppy with $name", ({ options, iommu }) => {
  const board = { ...options, board: { ...options.board, floppies: [{ source }] } };

  test("sectors over a change of heads and cylinders are read and written, each command with interrupt 6", () => {
    const seen: unknown[] = [];
    const { run, rig } = dmaRun(board, function* (rig) {
      const domain = yield* domainFor(rig, iommu, ISA_BRIDGE);
      const dma = rig.device({ maskBits: 24, boundary: 65536, domain });
      const floppy = new FloppyDriver(dma, new I8237Driver(rig.kernel));
      yield* floppy.begin(rig.kernel);
      const before = floppy.interrupts;
      const at = rig.memory.allocate(8 * 512);
      expect(at).toBeGreaterThanOrEqual(2 ** 24);
      yield* floppy.read(34, 6, at);
      seen.push(yield* readBytes(at, 6 * 512), floppy.interrupts - before);
      yield* fill(at, pattern(1024, 9));
      yield* floppy.write(100, 2, at);
      seen.push(dma.bounced > 0, dma.live.size);
      expect(yield* codeOf(floppy.read(2879, 2, at))).toBe("EINVAL");
    });
    expect(run.exit.kind).toBe("power-off");
    // Sectors 34 and 35 end cylinder 0; then a seek and the rest.
    expect(seen).toEqual([[...disk.subarray(34 * 512, 40 * 512)], 3, !iommu, 0]);
    const written = new Uint8Array(1024);
    rig.machine.pc.isa.floppies[0]!.read(100 * 512, written, 0, 1024);
    expect([...written]).toEqual(pattern(1024, 9));
  });
});

describe.each(MACHINES)("IDE bus master with $name", ({ options, iommu }) => {
  const devices = ["piix-ide,addr=6"];
  const board = { ...options, devices, board: { ...options.board, ide: { disks: [{ source }] } } };

  test("sectors go into scattered buffers and back, one interrupt 14 per request; beyond the disk is -EIO", () => {
    const seen: unknown[] = [];
    const { run, rig } = dmaRun(board, function* (rig) {
      const domain = yield* domainFor(rig, iommu, 6 << 3);
      const dma = rig.device({ boundary: 65536, domain });
      const ide = new IdeDriver(new PciFunction(0, 6), dma);
      yield* ide.begin(rig.kernel);
      const [a, b] = [rig.memory.allocate(4096), rig.memory.allocate(8192)] as [number, number];
      yield* ide.read(7, [
        { address: a, bytes: 700 },
        { address: b + 64, bytes: 4420 },
      ]);
      seen.push([...(yield* readBytes(a, 700)), ...(yield* readBytes(b + 64, 4420))]);
      yield* fill(b, pattern(1024, 5));
      yield* ide.write(20, [{ address: b, bytes: 1024 }]);
      expect(yield* codeOf(ide.read(2880, [{ address: a, bytes: 512 }]))).toBe("EIO");
      expect(yield* codeOf(ide.read(0, [{ address: a, bytes: 500 }]))).toBe("EINVAL");
      yield* ide.read(20, [{ address: b + 4096, bytes: 1024 }]);
      seen.push(yield* readBytes(b + 4096, 1024), ide.interrupts, dma.live.size);
    });
    expect(run.exit.kind).toBe("power-off");
    expect(seen).toEqual([[...disk.subarray(7 * 512, 17 * 512)], pattern(1024, 5), 4, 0]);
    const written = new Uint8Array(1024);
    rig.machine.pc.pci.ide.images[0]!.read(20 * 512, written, 0, 1024);
    expect([...written]).toEqual(pattern(1024, 5));
  });
});

describe("IDE", () => {
  test("somebody else's interrupt 14 in the middle of a transfer is not taken for its end", () => {
    let found: number[] = [];
    let unclaimed = 0;
    dmaRun({ devices: ["piix-ide,addr=6"], board: { ide: { disks: [{ source }] } } }, function* (rig) {
      const ide = new IdeDriver(new PciFunction(0, 6), rig.device({ boundary: 65536 }));
      yield* ide.begin(rig.kernel);
      const at = rig.memory.allocate(4096);
      const wire = rig.machine.line(14);
      rig.machine.at(rig.machine.pc.clock.now() + 100_000, () => wire.pulse());
      yield* ide.read(3, [{ address: at, bytes: 4096 }]);
      found = yield* readBytes(at, 4096);
      unclaimed = rig.kernel.irqs.irqs.find(({ name }) => name === "ide")!.descriptor.statistics.unclaimed;
      expect(ide.interrupts).toBe(2);
    });
    expect(found).toEqual([...disk.subarray(3 * 512, 11 * 512)]);
    expect(unclaimed).toBe(1);
  });

  test("a request costs twelve port writes and two port reads, and one interrupt", () => {
    const marks: number[] = [];
    const options = { devices: ["piix-ide,addr=6"], board: { ide: { disks: [{ source }] } } };
    const { run } = dmaRun(
      options,
      function* (rig) {
        const ide = new IdeDriver(new PciFunction(0, 6), rig.device({ boundary: 65536 }));
        yield* ide.begin(rig.kernel);
        const at = rig.memory.allocate(65536, { alignment: 65536 });
        marks.push(rig.machine.pc.clock.now());
        for (let i = 0; i < 5; i++) yield* ide.read(i * 128, [{ address: at, bytes: 65536 }]);
        marks.push(rig.machine.pc.clock.now());
      },
      [EVENT.portWrite, EVENT.portRead, EVENT.interrupt],
    );
    const count = (wanted: number): number =>
      run.events.filter(({ kind, time }) => kind === wanted && time >= marks[0]! && time < marks[1]!).length;
    // Table, direction, old bits; six registers of the disk; start; stop, acknowledge.
    expect([count(EVENT.portWrite), count(EVENT.portRead), count(EVENT.interrupt)]).toEqual([5 * 12, 5 * 2, 5]);
  });
});

describe("interrupt remapping", () => {
  test("the engine's message goes by a table entry, also after a move to another CPU; another requester's does not", () => {
    const seen: unknown[] = [];
    const options = { cpus: 2, devices: [IOAT_PLACE], board: { iommu: parseIommu("vtd") } };
    const { run } = dmaRun(
      options,
      function* (rig) {
        yield* rig.kernel.waitForAll();
        const unit = new IommuUnit({ base: VTD_BASE, memory: rig.memory });
        yield* unit.initialise();
        const domain = yield* unit.createDomain();
        yield* unit.configureDeviceIommu(5 << 3, domain);
        const composer = yield* RemappingComposer.create(unit);
        const driver = new IoatDriver(new PciFunction(0, 5), rig.device({ domain }), { composer });
        yield* driver.begin(rig.kernel);
        const at = rig.memory.allocate(256);
        const copy = (): Task => driver.copy([{ address: at, bytes: 64 }], [{ address: at + 128, bytes: 64 }]);
        yield* copy();
        const irq = rig.kernel.irqs.irqs.find(({ name }) => name === "ioat")!;
        yield* rig.kernel.irqs.move(irq, 1);
        // The handler runs there now, and wakes this one.
        yield* copy();
        seen.push(driver.interrupts);
        // The message of entry 0, sent by somebody else: source validation refuses it.
        rig.machine.message(0xfee00010, 0, 0x99);
        seen.push((yield* unit.takeFaults()).map(({ reason, requester }) => [reason, requester]));
      },
      [EVENT.irqRemap, EVENT.interrupt],
    );
    const remapped = run.events.filter(({ kind }) => kind === EVENT.irqRemap);
    // Index, and the CPU as the xAPIC destination.
    expect(remapped.map(({ a, c }) => [a, c])).toEqual([
      [0, 0],
      [0, 1],
    ]);
    // 5.1.4.1: 26h, verification failure.
    expect(seen).toEqual([2, [[0x26, 0x99]]]);
  });
});
