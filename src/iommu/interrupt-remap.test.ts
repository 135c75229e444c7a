/**
 * VT-d Architecture Specification (rev. 4.0), chapter 5: interrupt remapping (5.1) and interrupt posting (5.2); 9.10 to 9.12 for the formats.
 */
import { describe, expect, test } from "vitest";
import { Line } from "../ports/line.ts";
import { NOT_REMAPPED } from "../ports/interrupt-remap.ts";
import { IoApic } from "../intc/ioapic.ts";
import { REG, VtdRig } from "./vtd-rig.testing.ts";

const DEVICE = 0x0123;
/** Message address in remappable format: 15 bits of the handle, its bit 15, SHV. */
const address = (handle: number, subhandle = false): number =>
  (0xfee0_0010 | ((handle & 0x7fff) << 5) | ((handle >> 15) << 2) | (subhandle ? 8 : 0)) >>> 0;

function rigOf(extended = false) {
  const rig = new VtdRig();
  const table = rig.remapping(extended);
  const entry = (index: number, low: bigint, high = 0n): void => {
    rig.memory.put(table + 16 * index, low);
    rig.memory.put(table + 16 * index + 8, high);
  };
  const send = (to: number, data = 0, requester = DEVICE): void => rig.unit.interrupts.msi(to, data, requester, 0);
  return { rig, table, entry, send };
}
/** Present, vector 0x41, destination 5 in xAPIC format. */
const PLAIN = 1n | (0x41n << 16n) | (5n << 40n);

describe("remapping", () => {
  test("while it is off, messages go to the decoder whatever their format", () => {
    const rig = new VtdRig();
    rig.unit.interrupts.msi(address(3), 0x31, DEVICE, 0);
    expect(rig.plain).toEqual([[address(3), 0x31, DEVICE]]);
    expect(rig.unit.interrupts.active).toBe(false);
  });

  test("the entry at the handle says vector, mode, trigger and destination (9.10)", () => {
    const { rig, entry, send } = rigOf();
    entry(3, 1n | (1n << 2n) | (1n << 3n) | (1n << 4n) | (1n << 5n) | (0x77n << 16n) | (0xa5n << 40n));
    send(address(3));
    expect(rig.bus.sent).toMatchObject([
      {
        vector: 0x77,
        destinationMode: 1,
        redirectionHint: 1,
        trigger: 1,
        deliveryMode: 1,
        destination: 0xa5,
        wide: false,
      },
    ]);
    expect(rig.plain).toEqual([]);
  });

  test("with SHV the data is added to the handle (5.1.2.2)", () => {
    const { rig, entry, send } = rigOf();
    entry(10, PLAIN);
    entry(12, PLAIN | (1n << 16n) | (1n << 17n));
    send(address(10, true), 2);
    expect(rig.bus.sent).toMatchObject([{ vector: 0x43 }]);
  });

  test("bit 15 of the handle is address bit 2", () => {
    const { rig, send } = rigOf();
    send(address(0x8001));
    expect(rig.read(REG.FRCD + 4)).toBe(0x8001_0000);
    expect(rig.faults()).toEqual([0x21]);
  });

  test("x2APIC mode: destinations of 32 bits (EIME)", () => {
    const { rig, entry, send } = rigOf(true);
    entry(0, 1n | (0x41n << 16n) | (0x1234_5678n << 32n));
    send(address(0));
    expect(rig.bus.sent).toMatchObject([{ destination: 0x1234_5678, wide: true }]);
  });

  test.each([2n, 4n, 5n, 7n])("SMI, NMI, INIT and ExtINT (mode %s) are edge-triggered", mode => {
    const { rig, entry, send } = rigOf();
    entry(0, PLAIN | (mode << 5n) | 0x10n);
    send(address(0));
    expect(rig.bus.sent).toMatchObject([{ deliveryMode: Number(mode), trigger: 0 }]);
  });
});

describe("faults (5.1.6, 7.1.3)", () => {
  test.each([
    ["20h: reserved data bits with SHV", PLAIN, 0n, address(0, true), 0x1_0000, 0x20],
    ["20h: data without SHV", PLAIN, 0n, address(0), 1, 0x20],
    ["21h: beyond the table of 256", PLAIN, 0n, address(256), 0, 0x21],
    ["21h: handle and subhandle together", PLAIN, 0n, address(200, true), 56, 0x21],
    ["22h: not present", PLAIN & ~1n, 0n, address(0), 0, 0x22],
    ["24h: reserved bits 14:12", PLAIN | (1n << 12n), 0n, address(0), 0, 0x24],
    ["24h: reserved bits 31:24", PLAIN | (1n << 31n), 0n, address(0), 0, 0x24],
    ["24h: reserved bits of the upper half", PLAIN, 1n << 20n, address(0), 0, 0x24],
    ["24h: an 8-bit destination's other bits", PLAIN | (1n << 32n), 0n, address(0), 0, 0x24],
    ["24h: delivery mode 3", PLAIN | (3n << 5n), 0n, address(0), 0, 0x24],
    ["24h: validation type 3", PLAIN, 3n << 18n, address(0), 0, 0x24],
    ["26h: another source", PLAIN, (1n << 18n) | 0x0122n, address(0), 0, 0x26],
    ["25h: compatibility format", PLAIN, 0n, 0xfee0_0000, 0x31, 0x25],
  ])("%s", (_, low, high, to, data, reason) => {
    const { rig, entry, send } = rigOf();
    entry(0, low, high);
    send(to, data);
    expect(rig.bus.sent).toEqual([]);
    expect(rig.plain).toEqual([]);
    expect(rig.read(REG.FRCD + 8)).toBe(DEVICE);
    expect(rig.faults()).toEqual([reason]);
  });

  test("23h: no memory answers for the table", () => {
    const rig = new VtdRig();
    rig.write64(REG.IRTA, 0x8000_0007n);
    rig.command(24);
    rig.command(25, true);
    rig.unit.interrupts.msi(address(0), 0, DEVICE, 0);
    expect(rig.faults()).toEqual([0x23]);
  });

  test("a record has the index in bits 63:48 (11.4.14)", () => {
    const { rig, send } = rigOf();
    send(address(0x12));
    expect([rig.read(REG.FRCD), rig.read(REG.FRCD + 4)]).toEqual([0, 0x0012_0000]);
  });

  test("fault processing disable silences 22h, 24h and 26h, not 21h", () => {
    const { rig, entry, send } = rigOf();
    entry(0, 2n);
    entry(1, 3n | (1n << 12n));
    entry(2, PLAIN | 2n, (1n << 18n) | 1n);
    for (const index of [0, 1, 2]) send(address(index));
    expect(rig.faults()).toEqual([]);
    send(address(256));
    expect(rig.faults()).toEqual([0x21]);
    expect(rig.unit.interrupts.counts.blocked).toBe(4);
  });

  test("compatibility format passes while software allows it, and never in x2APIC mode (5.1.2.1)", () => {
    const one = rigOf();
    one.rig.command(23, true);
    one.send(0xfee0_1000, 0x31);
    expect(one.rig.plain).toEqual([[0xfee0_1000, 0x31, DEVICE]]);
    const two = rigOf(true);
    two.rig.command(23, true);
    two.send(0xfee0_1000, 0x31);
    expect([two.rig.plain, two.rig.faults()]).toEqual([[], [0x25]]);
  });
});

describe("source validation (9.10: SVT, SQ, SID)", () => {
  test.each([
    [0n, [0]],
    [1n, [0, 4]],
    [2n, [0, 2, 4, 6]],
    [3n, [0, 1, 2, 3, 4, 5, 6, 7]],
  ])("qualifier %s lets through functions that differ by %j", (qualifier, allowed) => {
    for (let other = 0; other < 16; other++) {
      const { rig, entry, send } = rigOf();
      entry(0, PLAIN, (1n << 18n) | (qualifier << 16n) | BigInt(DEVICE));
      send(address(0), 0, DEVICE ^ other);
      expect([other, rig.bus.sent.length]).toEqual([other, allowed.includes(other) ? 1 : 0]);
    }
  });

  test("type 2: the bus lies between the two of the source field", () => {
    const { rig, entry, send } = rigOf();
    entry(0, PLAIN, (2n << 18n) | 0x0305n);
    for (const bus of [2, 3, 4, 5, 6]) send(address(0), 0, bus << 8);
    expect(rig.bus.sent.length).toBe(3);
    expect(rig.faults()).toEqual([0x26, 0x26]);
  });
});

describe("the interrupt entry cache (6.2.6)", () => {
  test("a changed entry goes on as before until it is invalidated; global, by index, by mask (6.5.2.7)", () => {
    const vectors = (low: bigint): number[] => {
      const { rig, entry, send } = rigOf();
      for (const index of [4, 5, 6, 8]) entry(index, PLAIN);
      for (const index of [4, 5, 6, 8]) send(address(index));
      for (const index of [4, 5, 6, 8]) entry(index, PLAIN | (1n << 17n));
      rig.queue()(low);
      rig.bus.sent.length = 0;
      for (const index of [4, 5, 6, 8]) send(address(index));
      return rig.bus.sent.map(({ vector }) => vector);
    };
    expect(vectors(0x5n)).toEqual([0x41, 0x41, 0x41, 0x41]);
    expect(vectors(0x4n)).toEqual([0x43, 0x43, 0x43, 0x43]);
    expect(vectors(0x14n | (5n << 32n))).toEqual([0x41, 0x43, 0x41, 0x41]);
    expect(vectors(0x14n | (5n << 32n) | (2n << 27n))).toEqual([0x43, 0x43, 0x43, 0x41]);
  });

  test("what was not present is not cached; the source is checked on every request", () => {
    const { rig, entry, send } = rigOf();
    send(address(1));
    entry(1, PLAIN, (1n << 18n) | BigInt(DEVICE));
    send(address(1));
    send(address(1), 0, DEVICE + 1);
    expect(rig.bus.sent.length).toBe(1);
    expect(rig.faults()).toEqual([0x22, 0x26]);
  });

  test("a reset empties it", () => {
    const { rig, table, entry, send } = rigOf();
    entry(0, PLAIN);
    send(address(0));
    entry(0, PLAIN | (1n << 17n));
    rig.unit.reset("enter", "system");
    rig.write64(REG.IRTA, BigInt(table) | 7n);
    rig.command(24);
    rig.command(25, true);
    send(address(0));
    expect(rig.bus.sent.map(({ vector }) => vector)).toEqual([0x41, 0x43]);
  });

  test("a new table takes effect with its command, and its entries with the invalidation", () => {
    const { rig, entry, send } = rigOf();
    entry(0, PLAIN);
    send(address(0));
    const other = rig.table();
    rig.memory.put(other, PLAIN | (1n << 17n));
    rig.write64(REG.IRTA, BigInt(other) | 7n);
    rig.command(24);
    send(address(0));
    rig.queue()(0x4n);
    send(address(0));
    expect(rig.bus.sent.map(({ vector }) => vector)).toEqual([0x41, 0x41, 0x43]);
  });
});

describe("I/O APIC (5.1.5.1)", () => {
  function board() {
    const { rig, entry } = rigOf();
    const requester = 0xf0f8;
    const apic = new IoApic({ bus: rig.bus, remapping: { unit: rig.unit.interrupts, requester } });
    const line = new Line("gsi4", 4);
    line.connect(apic, 4);
    const program = (low: number, high: number): void => {
      for (const [index, value] of [
        [0x19, high],
        [0x18, low],
      ] as const) {
        apic.write(0, 4, index);
        apic.write(0x10, 4, value >>> 0);
      }
    };
    const low = (): number => {
      apic.write(0, 4, 0x18);
      return apic.read(0x10);
    };
    return { rig, entry, apic, pin: line.pin(), program, low };
  }
  /** Index 3 in bits 63:49, format in bit 48. */
  const HIGH = (3 << 17) | (1 << 16);

  test("an entry in remappable format is an index; the message is the table's", () => {
    const { rig, entry, pin, program } = board();
    entry(3, PLAIN, (1n << 18n) | 0xf0f8n);
    program(0x04, HIGH);
    pin.assert();
    expect(rig.bus.sent).toMatchObject([{ vector: 0x41, destination: 5 }]);
    expect(rig.faults()).toEqual([]);
  });

  test("bit 11 of the entry is bit 15 of the index", () => {
    const { rig, pin, program } = board();
    program(0x0804, HIGH);
    pin.assert();
    expect([rig.read(REG.FRCD + 4), rig.read(REG.FRCD + 8)]).toEqual([0x8003_0000, 0xf0f8]);
    expect(rig.faults()).toEqual([0x21]);
  });

  test("level-triggered: remote IRR is set, and cleared by the EOI of the vector in the entry", () => {
    const { rig, entry, apic, pin, program, low } = board();
    entry(3, PLAIN);
    program(0x8004, HIGH);
    pin.assert();
    expect(low() & 0x4000).toBe(0x4000);
    apic.endOfInterrupt(0x41, 0);
    expect(low() & 0x4000).toBe(0x4000);
    apic.write(0x40, 4, 0x04);
    expect(rig.bus.sent.length).toBe(2);
    pin.deassert();
    apic.write(0x40, 4, 0x04);
    expect(low() & 0x4000).toBe(0);
  });

  test("in compatibility format it is blocked, or passes as it is when software allows that", () => {
    const { rig, pin, program } = board();
    program(0x31, 0x0200_0000);
    pin.assert();
    expect([rig.bus.sent.length, rig.faults()]).toEqual([0, [0x25]]);
    pin.deassert();
    rig.command(23, true);
    expect(rig.unit.interrupts.fromIoApic(0x31, 0x0200_0000, 0xf0f8, 0)).toBe(NOT_REMAPPED);
    pin.assert();
    expect(rig.bus.sent).toMatchObject([{ vector: 0x31, destination: 2 }]);
  });
});

describe("posting (5.2.3)", () => {
  const DESCRIPTOR = 0x9_0040;
  const posted = (vector: bigint, urgent = false): [bigint, bigint] => [
    0x8001n | (vector << 16n) | (urgent ? 0x4000n : 0n) | (BigInt(DESCRIPTOR >> 6) << 38n),
    0n,
  ];
  /** Control quadword: NV 0xF2, NDST 3 in xAPIC format, ON and SN as given. */
  const control = (bits: bigint): bigint => (3n << 40n) | (0xf2n << 16n) | bits;

  test.each([0, 31, 32, 63, 64, 200, 255])("vector %i sets its bit in PIR and notifies once", vector => {
    const { rig, entry, send } = rigOf();
    entry(1, ...posted(BigInt(vector)));
    rig.memory.put(DESCRIPTOR + 32, control(0n));
    send(address(1));
    send(address(1));
    const bits = [0, 8, 16, 24].map(at => rig.memory.get(DESCRIPTOR + at));
    expect(bits.reduce((all, word, i) => all | (word << BigInt(64 * i)), 0n)).toBe(1n << BigInt(vector));
    expect(rig.memory.get(DESCRIPTOR + 32)).toBe(control(1n));
    expect(rig.bus.sent).toMatchObject([{ vector: 0xf2, destination: 3, deliveryMode: 0 }]);
  });

  test("suppressed notifications are not sent, urgent ones are", () => {
    const { rig, entry, send } = rigOf();
    entry(1, ...posted(5n));
    entry(2, ...posted(6n, true));
    rig.memory.put(DESCRIPTOR + 32, control(2n));
    send(address(1));
    expect([rig.bus.sent.length, rig.memory.get(DESCRIPTOR + 32)]).toEqual([0, control(2n)]);
    send(address(2));
    expect([rig.bus.sent.length, rig.memory.get(DESCRIPTOR + 32)]).toEqual([1, control(3n)]);
    expect(rig.memory.get(DESCRIPTOR)).toBe(0x60n);
  });

  test("27h: no memory for the descriptor; 28h: reserved bits in it; nothing is written", () => {
    const { rig, entry, send } = rigOf();
    entry(1, ...posted(5n));
    rig.memory.put(DESCRIPTOR + 32, control(1n << 4n));
    send(address(1));
    entry(2, 0x8001n, 0x7fn << 32n);
    send(address(2));
    expect(rig.faults()).toEqual([0x28, 0x27]);
    expect(rig.memory.get(DESCRIPTOR)).toBe(0n);
  });
});
