import { describe, expect, test } from "vitest";
import { HostError } from "../base/assert.ts";
import { MIB } from "../base/units.ts";
import { FakeProcessor, type FakeProgram } from "./fake-processor.ts";
import { PORT } from "./memory-map.ts";
import { Pc } from "./pc.ts";
import type { PcOptions } from "./pc-options.ts";
import type { ProcessorOptions } from "./processor.ts";

/** A boot sector: the contents do not matter to a processor without instructions. */
const image = (() => {
  const bytes = new Uint8Array(512).fill(0x90);
  bytes[510] = 0x55;
  bytes[511] = 0xaa;
  return { name: "sector", bytes, args: "" };
})();

type Script = (cpu: FakeProcessor, options: ProcessorOptions) => void;

/** A board whose CPUs call `script` once per instruction. */
function board(script: Script, options: Partial<PcOptions> = {}): Pc {
  return new Pc({
    cpus: 1,
    memory: 4 * MIB,
    image,
    makeProcessor: given => {
      const program: FakeProgram = cpu => script(cpu, given);
      return new FakeProcessor(given.index, program, !given.bsp);
    },
    ...options,
  });
}
const FOREVER = Number.POSITIVE_INFINITY;

test("the image lies where its loader put it, and the board is in the state that firmware leaves", () => {
  const pc = board(() => {});
  expect(pc.space.read(0x7c00, 1)).toBe(0x90);
  expect(pc.space.read(0xa0000, 4)).toBe(0xffffffff);
  expect(pc.space.read(0xfffff, 1)).toBe(0);
  expect(pc.space.read(4 * MIB, 1)).toBe(0xff);
  expect(pc.space.a20).toBe(true);
  // MultiProcessor Specification 1.4, 3.6.2.2: virtual wire mode, LINT0 of the bootstrap processor is ExtINT (111b), LINT1 NMI (100b).
  expect((pc.lapics[0]!.read(0x350, 4) >>> 8) & 0x107).toBe(7);
  expect((pc.lapics[0]!.read(0x360, 4) >>> 8) & 0x107).toBe(4);
});

test("the exit port ends the run with (value << 1) | 1 at the end of that instruction", () => {
  const pc = board((cpu, { bus }) => {
    if (cpu.retired === 41) bus.portWrite(PORT.exit, 1, 0x10);
  });
  expect(pc.run(FOREVER)).toMatchObject({ kind: "guest-exit", status: 0x21 });
  expect(pc.retired).toBe(42);
  expect(pc.run(FOREVER)).toMatchObject({ kind: "guest-exit", status: 0x21 });
});

test("power off by ACPI is status 0, a triple fault 70, nothing left to happen 72", () => {
  // ACPI 6.5, 4.8.3.2: SLP_EN is bit 13 of PM1_CNT, at offset 4 of the block.
  const off = board((_cpu, { bus }) => bus.portWrite(PORT.acpi + 4, 2, 0x2000));
  expect(off.run(FOREVER)).toMatchObject({ kind: "power-off", status: 0 });
  const fault = board(cpu => cpu.shutdown());
  expect(fault.run(FOREVER)).toMatchObject({ kind: "triple-fault", status: 70 });
  // Without a boot sector no BIOS lets the timer tick.
  const idle = board(cpu => cpu.halt(), { image: null });
  expect(idle.run(FOREVER, 10_000_000_000)).toMatchObject({ kind: "idle", status: 72 });
});

test("bytes written to the serial port and the debug console reach the host", () => {
  const out: string[] = [];
  const pc = board(
    (cpu, { bus }) => {
      if (cpu.retired === 0) bus.portWrite(PORT.com1, 1, 0x41);
      if (cpu.retired === 1) bus.portWrite(PORT.debugConsole, 1, 0x42);
    },
    { onSerial: byte => out.push(`s${byte}`), onDebug: byte => out.push(`d${byte}`) },
  );
  pc.run(2);
  expect(out).toEqual(["s65", "d66"]);
});

test("typed characters arrive one per character time", () => {
  const seen: [number, number][] = [];
  const pc: Pc = board((_cpu, { bus }) => {
    if ((bus.portRead(PORT.com1 + 5, 1) & 1) !== 0) seen.push([bus.portRead(PORT.com1, 1), pc.clock.now()]);
  });
  pc.typeSerial([0x61, 0x62]);
  pc.run(200_000);
  expect(seen.map(([byte]) => byte)).toEqual([0x61, 0x62]);
  expect(seen[1]![1] - seen[0]![1]).toBeGreaterThan(80_000);
});

test("a reset by port 0xCF9 loads the image again and goes on from the start", () => {
  const pc = board((cpu, { bus, ram }) => {
    if (cpu.retired === 10) {
      ram.write(0x7c00, 1, 0xcc);
      bus.portWrite(PORT.fastA20, 1, 0);
      bus.portWrite(PORT.resetControl, 1, 0x06);
    }
  });
  pc.run(11);
  pc.run(12);
  expect(pc.space.read(0x7c00, 1)).toBe(0x90);
  expect(pc.space.a20).toBe(true);
});

test("the timer's line is input 0 of the 8259 and input 2 of the I/O APIC", () => {
  const pc = board(() => {}, { image: null });
  // Mode 0 takes OUT 0 of the timer low, which is high after a reset.
  pc.ports.write(PORT.pit + 3, 1, 0x30);
  const pin = pc.lines[0]!.pin();
  pin.assert();
  expect(pc.ioapic.state.asserted & 0b111).toBe(0b100);
  pc.pic.masterWindow.write(0, 1, 0x0a);
  expect(pc.pic.masterWindow.read(0, 1) & 1).toBe(1);
});

test("an interrupt of the test device reaches the bootstrap processor by the 8259 and LINT0, and nobody else", () => {
  const pc = board(
    (cpu, { bus }) => {
      if (cpu.retired === 0) bus.portWrite(PORT.picMaster + 1, 1, 0xdf);
      if (cpu.retired === 1) bus.portWrite(PORT.testIrq + 5, 1, 1);
    },
    { cpus: 2, testDevices: true },
  );
  const [bsp, ap] = pc.cpus as FakeProcessor[];
  pc.run(2);
  expect(bsp!.state.intr).toBe(true);
  expect(ap!.state.intr).toBe(false);
  expect(pc.lapics[0]!.acknowledge()).toBe(0x08 + 5);
  expect(pc.lapics[0]!.lastExtInt).toBe(true);
});

describe("save and load", () => {
  /** Uses timers, lines and memory; reads the clock; never twice the same. */
  const busy: Script = (cpu, { bus, ram, clock }) => {
    const n = cpu.retired;
    if (n === 0)
      for (const [port, value] of [
        [0x43, 0x34],
        [0x40, 0x00],
        [0x40, 0x10],
      ] as const)
        bus.portWrite(port, 1, value);
    if (n === 1) bus.portWrite(PORT.picMaster + 1, 1, 0xfe);
    if (n % 97 === 0) ram.write(0x10000 + (n % 0x10000), 4, clock.now());
    if (n % 301 === 7) bus.portWrite(PORT.testIrq + (n % 24), 1, n & 1);
    if (n % 53 === 3) ram.write(0x30000 + (n % 0x1000), 1, bus.portRead(0x40, 1));
  };
  const options = { cpus: 2, testDevices: true, seed: 3 };

  test("the same machine gives the same hash, and another instruction count another one", () => {
    const a = board(busy, options);
    const b = board(busy, options);
    a.run(50_000);
    b.run(20_000);
    const early = b.stateHash();
    b.run(50_000);
    expect(b.stateHash()).toBe(a.stateHash());
    expect(early).not.toBe(a.stateHash());
  });

  test("a snapshot loaded into a fresh machine goes on to the same end", () => {
    const a = board(busy, options);
    a.run(12_345);
    const snapshot = a.save();
    a.run(50_000);
    const b = board(busy, options);
    b.run(777);
    b.load(snapshot);
    expect(b.retired).toBe(12_345);
    b.run(50_000);
    expect(b.stateHash()).toBe(a.stateHash());
  });

  test("a snapshot of another machine is refused", () => {
    const snapshot = board(busy, options).save();
    expect(() => board(busy, { ...options, cpus: 1 }).load(snapshot)).toThrow(HostError);
    expect(() => board(busy, { ...options, memory: 8 * MIB }).load(snapshot)).toThrow(/another size of memory/);
  });
});

test("impossible options are refused in one line with status 64", () => {
  const refuse = (options: Partial<PcOptions>) => {
    try {
      board(() => {}, options);
    } catch (error) {
      return error;
    }
  };
  for (const options of [{ cpus: 0 }, { cpus: 65 }, { memory: 1000 }, { memory: 5000 * MIB }]) {
    expect(refuse(options)).toBeInstanceOf(HostError);
    expect(refuse(options)).toMatchObject({ status: 64 });
  }
});

test("RAM above 2.75 GiB lies at 4 GiB, and the hole below holds devices and open bus", () => {
  const pc = board(() => {}, { memory: 3200 * MIB });
  const { space, ram } = pc;
  space.write(4096 * MIB, 4, 0x12345678);
  expect(ram.read(2816 * MIB, 4)).toBe(0x12345678);
  space.write(2816 * MIB - 4, 4, 0x9abcdef0);
  expect(ram.read(2816 * MIB - 4, 4)).toBe(0x9abcdef0);
  expect(space.read(3072 * MIB, 4)).toBe(0xffffffff);
  expect(space.read(4096 * MIB + 384 * MIB, 4)).toBe(0xffffffff);
  // 82093AA, 3.0: IOREGSEL reads back what was written to it.
  space.write(0xfec00000, 4, 1);
  expect(space.read(0xfec00000, 4)).toBe(1);
});
