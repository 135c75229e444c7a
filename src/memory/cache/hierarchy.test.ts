import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { describePart } from "../../ports/part.contract.ts";
import { Ram } from "../ram.ts";
import { LINE_BYTES, MESI } from "./cache-array.ts";
import { CacheHierarchy, COUNT, SERVED } from "./hierarchy.ts";

const RAM_BYTES = 0x4000;
/** 2 sets of 2 ways, and 4 sets of 2 ways below them: everything is evicted soon. */
const TINY = { l1Bytes: 256, l1Ways: 2, llcBytes: 512, llcWays: 2 };

/** CPUs, caches and memory, with byte accesses. */
class Rig {
  readonly ram = new Ram(new ArrayBuffer(RAM_BYTES), 0, RAM_BYTES);
  readonly caches: CacheHierarchy;

  constructor(cpus = 4, geometry = TINY) {
    this.caches = new CacheHierarchy(this.ram, cpus, geometry);
  }

  load(cpu: number, offset: number): number {
    this.caches.load(cpu, Math.floor(offset / LINE_BYTES));
    return this.ram.bytes[offset]!;
  }

  store(cpu: number, offset: number, value: number): void {
    this.caches.store(cpu, Math.floor(offset / LINE_BYTES));
    this.ram.bytes[offset] = value;
  }

  storeThrough(cpu: number, offset: number, value: number): void {
    const line = Math.floor(offset / LINE_BYTES);
    this.caches.storeThrough(cpu, line, offset % LINE_BYTES, new Uint8Array([value]), 0, 1);
    this.ram.bytes[offset] = value;
  }

  dmaRead(offset: number, length: number, snoop: boolean): number[] {
    const into = new Uint8Array(length + 2);
    this.caches.dmaRead(offset, into, 1, length, snoop);
    return [...into.subarray(1, length + 1)];
  }

  dmaWrite(offset: number, bytes: number[], snoop: boolean): void {
    this.caches.dmaWrite(offset, new Uint8Array([0, ...bytes]), 1, bytes.length, snoop);
  }
}

describePart("caches", () => {
  const { caches } = new Rig();
  return {
    part: caches,
    // RAM is nobody's state here, so nothing that changes its bytes.
    stimulate: rng => {
      const line = rng.below(16);
      if (rng.below(4) === 0) caches.flush(0, line);
      else if (rng.below(2) === 0) caches.store(rng.below(4), line);
      else caches.load(rng.below(4), line);
    },
  };
});

describe("the MESI protocol (Intel SDM vol. 3A, table 12-4)", () => {
  test("the first reader has a line exclusive, a second one makes both share it", () => {
    const { caches } = new Rig();
    expect(caches.load(0, 5)).toBe(SERVED.memory);
    expect(caches.mesiOf(0, 5)).toBe(MESI.exclusive);
    expect(caches.load(1, 5)).toBe(SERVED.llc);
    expect([caches.mesiOf(0, 5), caches.mesiOf(1, 5)]).toEqual([MESI.shared, MESI.shared]);
    expect(caches.load(1, 5)).toBe(SERVED.l1);
  });

  test("a writer of a shared line invalidates the others; a reader of a modified line gets it from that CPU", () => {
    const { caches } = new Rig();
    caches.load(0, 5);
    caches.load(1, 5);
    expect(caches.store(1, 5)).toBe(SERVED.l1);
    expect([caches.mesiOf(0, 5), caches.mesiOf(1, 5)]).toEqual([MESI.invalid, MESI.modified]);
    expect(caches.state.counts[0 * 6 + COUNT.invalidated]).toBe(1);
    expect(caches.load(2, 5)).toBe(SERVED.otherCpu);
    expect([caches.mesiOf(1, 5), caches.mesiOf(2, 5)]).toEqual([MESI.shared, MESI.shared]);
  });

  test("an exclusive line becomes modified without anybody's help", () => {
    const { caches } = new Rig();
    caches.load(3, 9);
    expect(caches.store(3, 9)).toBe(SERVED.l1);
    expect(caches.mesiOf(3, 9)).toBe(MESI.modified);
  });
});

describe("write-back", () => {
  test("memory has the old byte until the line is written back: CLWB keeps the line, CLFLUSH does not (SDM vol. 2A)", () => {
    const rig = new Rig();
    rig.store(0, 0x100, 0xaa);
    expect(rig.caches.memoryByte(0x100)).toBe(0);
    rig.caches.writeBackLine(1, 4);
    expect(rig.caches.memoryByte(0x100)).toBe(0xaa);
    expect(rig.caches.isCached(4)).toBe(true);
    rig.store(0, 0x100, 0xbb);
    expect(rig.caches.memoryByte(0x100)).toBe(0xaa);
    rig.caches.flush(1, 4);
    expect(rig.caches.memoryByte(0x100)).toBe(0xbb);
    expect(rig.caches.isCached(4)).toBe(false);
  });

  test("a third line of a set of two ways pushes out the one that was used longest ago", () => {
    const rig = new Rig();
    // Lines 0, 4, 8 share a set of the last level (4 sets).
    rig.store(0, 0, 1);
    rig.store(0, 4 * 64, 2);
    rig.load(0, 0);
    rig.caches.load(1, 8);
    expect([rig.caches.isCached(0), rig.caches.isCached(4), rig.caches.isCached(8)]).toEqual([false, true, true]);
    expect(rig.caches.memoryByte(0)).toBe(1);
  });

  test("WBINVD writes everything back, INVD loses it (SDM vol. 3A, 12.5.5)", () => {
    const rig = new Rig();
    rig.store(0, 0, 1);
    rig.caches.writeBackAndInvalidateAll(0);
    expect([rig.caches.memoryByte(0), rig.load(1, 0)]).toEqual([1, 1]);
    rig.store(0, 0, 2);
    rig.caches.invalidateAll();
    expect(rig.load(1, 0)).toBe(1);
  });
});

describe("DMA", () => {
  test("with snooping a device reads the newest byte, and what it writes is what the CPU reads next", () => {
    const rig = new Rig();
    rig.store(2, 0x80, 7);
    expect(rig.dmaRead(0x7f, 3, true)).toEqual([0, 7, 0]);
    expect(rig.caches.mesiOf(2, 2)).toBe(MESI.shared);
    rig.dmaWrite(0x81, [9], true);
    expect([rig.load(2, 0x80), rig.load(2, 0x81)]).toEqual([7, 9]);
  });

  test("without snooping a device reads what memory has until the CPU flushes", () => {
    const rig = new Rig();
    rig.store(0, 0x80, 7);
    expect(rig.dmaRead(0x80, 1, false)).toEqual([0]);
    rig.caches.flush(0, 2);
    expect(rig.dmaRead(0x80, 1, false)).toEqual([7]);
  });

  test("without snooping a CPU reads its stale line until it invalidates", () => {
    const rig = new Rig();
    rig.load(0, 0x80);
    rig.dmaWrite(0x80, [5], false);
    expect(rig.load(0, 0x80)).toBe(0);
    rig.caches.flush(0, 2);
    expect(rig.load(0, 0x80)).toBe(5);
  });

  test("a dirty line that is written back later overwrites what a device wrote without snooping", () => {
    const rig = new Rig();
    rig.store(0, 0x80, 1);
    rig.dmaWrite(0x81, [5], false);
    expect(rig.caches.memoryByte(0x81)).toBe(5);
    rig.caches.flush(0, 2);
    expect([rig.load(0, 0x80), rig.load(0, 0x81)]).toEqual([1, 0]);
  });

  test("a line that is in no cache is written at once", () => {
    const rig = new Rig();
    rig.dmaWrite(0x3f, [1, 2], false);
    expect([rig.load(0, 0x3f), rig.load(0, 0x40)]).toEqual([1, 2]);
  });
});

describe("memory types (SDM vol. 3A, 12.3)", () => {
  test("write-through: memory is never behind, other CPUs lose the line, and a line that is not cached stays so", () => {
    const rig = new Rig();
    rig.storeThrough(0, 0x80, 3);
    expect([rig.caches.isCached(2), rig.caches.memoryByte(0x80)]).toEqual([false, 3]);
    rig.load(0, 0x80);
    rig.load(1, 0x80);
    rig.storeThrough(0, 0x80, 4);
    expect(rig.caches.memoryByte(0x80)).toBe(4);
    expect([rig.caches.mesiOf(0, 2), rig.caches.mesiOf(1, 2)]).toEqual([MESI.shared, MESI.invalid]);
  });

  test("uncached: a cached copy goes to memory first", () => {
    const rig = new Rig();
    rig.store(0, 0x80, 6);
    rig.caches.uncached(1, 2);
    expect([rig.caches.isCached(2), rig.caches.memoryByte(0x80)]).toEqual([false, 6]);
  });
});

/** One line of one cache of the slow model, with bytes of its own. */
type Copy = { line: number; bytes: number[]; dirty: boolean };

/**
 * The slow model: every cache is a list of lines with their own bytes, most recently used first, and every access is carried out by moving bytes. It knows
 * nothing of `below`.
 */
class Model {
  readonly memory = new Array<number>(RAM_BYTES).fill(0);
  readonly l1: Copy[][][];
  readonly llc: Copy[][] = Array.from({ length: 4 }, () => []);

  constructor(cpus: number) {
    this.l1 = Array.from({ length: cpus }, () => [[], []]);
  }

  #l1Set(cpu: number, line: number): Copy[] {
    return this.l1[cpu]![line % 2]!;
  }
  #llcSet(line: number): Copy[] {
    return this.llc[line % 4]!;
  }
  #inLlc(line: number): Copy | undefined {
    return this.#llcSet(line).find(copy => copy.line === line);
  }

  /** All L1s but one lose the line; modified bytes go to the last level. */
  #pull(line: number, except: number): void {
    this.l1.forEach((sets, cpu) => {
      const set = sets[line % 2]!;
      const at = set.findIndex(copy => copy.line === line);
      if (at < 0) return;
      this.#merge(set[at]!);
      if (cpu !== except) set.splice(at, 1);
    });
  }

  #merge(copy: Copy): void {
    if (!copy.dirty) return;
    const below = this.#inLlc(copy.line)!;
    below.bytes = [...copy.bytes];
    below.dirty = true;
    copy.dirty = false;
  }

  /** Modified bytes of L1s to the last level; everybody keeps the line. */
  #collect(line: number): void {
    for (const sets of this.l1) for (const copy of sets[line % 2]!) if (copy.line === line) this.#merge(copy);
  }

  evict(line: number): void {
    const copy = this.#inLlc(line);
    if (copy === undefined) return;
    this.#pull(line, -1);
    if (copy.dirty) this.#toMemory(copy);
    this.#llcSet(line).splice(this.#llcSet(line).indexOf(copy), 1);
  }

  #toMemory(copy: Copy): void {
    for (let i = 0; i < 64; i++) this.memory[copy.line * 64 + i] = copy.bytes[i]!;
    copy.dirty = false;
  }

  /** The line in the L1 of `cpu`, most recently used. */
  #bring(cpu: number, line: number, write: boolean): Copy {
    const set = this.#l1Set(cpu, line);
    let mine = set.find(copy => copy.line === line);
    if (mine === undefined) {
      let below = this.#inLlc(line);
      if (below === undefined) {
        const room = this.#llcSet(line);
        if (room.length === 2) this.evict(room[1]!.line);
        below = { line, bytes: this.memory.slice(line * 64, line * 64 + 64), dirty: false };
        room.unshift(below);
      } else {
        const room = this.#llcSet(line);
        room.splice(room.indexOf(below), 1);
        room.unshift(below);
        this.#collect(line);
      }
      if (write) this.#pull(line, -1);
      if (set.length === 2) this.#merge(set.pop()!);
      mine = { line, bytes: [...below.bytes], dirty: false };
    } else {
      if (write) this.#pullOthers(line, cpu);
      set.splice(set.indexOf(mine), 1);
    }
    set.unshift(mine);
    return mine;
  }

  #pullOthers(line: number, cpu: number): void {
    this.l1.forEach((sets, other) => {
      if (other === cpu) return;
      const set = sets[line % 2]!;
      const at = set.findIndex(copy => copy.line === line);
      if (at >= 0) set.splice(at, 1);
    });
  }

  load(cpu: number, offset: number): number {
    return this.#bring(cpu, Math.floor(offset / 64), false).bytes[offset % 64]!;
  }
  store(cpu: number, offset: number, value: number): void {
    const copy = this.#bring(cpu, Math.floor(offset / 64), true);
    copy.bytes[offset % 64] = value;
    copy.dirty = true;
  }
  /** What a CPU would see, without touching anything. */
  seen(offset: number): number {
    const line = Math.floor(offset / 64);
    const copies = this.l1.flatMap(sets => sets[line % 2]!.filter(copy => copy.line === line));
    const copy = copies.find(({ dirty }) => dirty) ?? copies[0] ?? this.#inLlc(line);
    return copy === undefined ? this.memory[offset]! : copy.bytes[offset % 64]!;
  }
  writeBack(line: number): void {
    const copy = this.#inLlc(line);
    if (copy === undefined) return;
    this.#collect(line);
    if (copy.dirty) this.#toMemory(copy);
  }
  flushAll(): void {
    for (const set of this.llc) for (const { line } of [...set]) this.evict(line);
  }
  dropAll(): void {
    for (const sets of this.l1) for (const set of sets) set.length = 0;
    for (const set of this.llc) set.length = 0;
  }
  dmaRead(offset: number, length: number, snoop: boolean): number[] {
    return Array.from({ length }, (_, i) => {
      if (snoop) this.writeBack(Math.floor((offset + i) / 64));
      return this.memory[offset + i]!;
    });
  }
  dmaWrite(offset: number, bytes: number[], snoop: boolean): void {
    bytes.forEach((byte, i) => {
      if (snoop) this.evict(Math.floor((offset + i) / 64));
      this.memory[offset + i] = byte;
    });
  }
}

type Step =
  | { readonly op: "load" | "store"; readonly cpu: number; readonly offset: number; readonly value: number }
  | { readonly op: "flush" | "writeBack"; readonly offset: number }
  | { readonly op: "wbinvd" | "invd" }
  | { readonly op: "dmaRead" | "dmaWrite"; readonly offset: number; readonly length: number; readonly snoop: boolean };

/** Sixteen lines, so that sets are fought for; few bytes of each, so that what was written is read. */
const offset = fc
  .tuple(fc.integer({ min: 0, max: 15 }), fc.constantFrom(0, 1, 63))
  .map(([line, within]) => line * 64 + within);
const cpu = fc.integer({ min: 0, max: 3 });
const access = fc.record({
  op: fc.constantFrom("load" as const, "store" as const),
  cpu,
  offset,
  value: fc.integer({ min: 1, max: 255 }),
});
const dma = (snoop: fc.Arbitrary<boolean>): fc.Arbitrary<Step> =>
  fc.record({
    op: fc.constantFrom("dmaRead" as const, "dmaWrite" as const),
    offset,
    length: fc.integer({ min: 1, max: 200 }),
    snoop,
  });
const steps = (snoop: fc.Arbitrary<boolean>, lossy: boolean): fc.Arbitrary<Step[]> =>
  fc.array(
    fc.oneof<fc.WeightedArbitrary<Step>[]>(
      { weight: 20, arbitrary: access },
      { weight: 4, arbitrary: dma(snoop) },
      { weight: 3, arbitrary: fc.record({ op: fc.constantFrom("flush" as const, "writeBack" as const), offset }) },
      { weight: 1, arbitrary: fc.constant({ op: lossy ? ("invd" as const) : ("wbinvd" as const) }) },
    ),
    { minLength: 1, maxLength: 150 },
  );

/** At most one CPU has a line exclusive or modified, and then nobody else has it; what an L1 has, the last level has. */
function checkInvariants({ caches }: Rig): void {
  for (let line = 0; line < 20; line++) {
    const states = [0, 1, 2, 3].map(cpu => caches.mesiOf(cpu, line));
    const holders = states.filter(state => state !== MESI.invalid);
    if (holders.some(state => state >= MESI.exclusive)) expect(holders.length).toBe(1);
    if (holders.length > 0) expect(caches.isCached(line)).toBe(true);
  }
}

function carryOut(program: readonly Step[]): void {
  const rig = new Rig();
  const model = new Model(4);
  program.forEach((step, n) => {
    const bytes = "length" in step ? Array.from({ length: step.length }, (_, i) => (n * 7 + i) & 0xff) : [];
    if (step.op === "load") expect(rig.load(step.cpu, step.offset)).toBe(model.load(step.cpu, step.offset));
    else if (step.op === "store") {
      rig.store(step.cpu, step.offset, step.value);
      model.store(step.cpu, step.offset, step.value);
    } else if (step.op === "flush") {
      rig.caches.flush(0, Math.floor(step.offset / 64));
      model.evict(Math.floor(step.offset / 64));
    } else if (step.op === "writeBack") {
      rig.caches.writeBackLine(0, Math.floor(step.offset / 64));
      model.writeBack(Math.floor(step.offset / 64));
    } else if (step.op === "wbinvd") {
      rig.caches.writeBackAndInvalidateAll(0);
      model.flushAll();
    } else if (step.op === "invd") {
      rig.caches.invalidateAll();
      model.dropAll();
    } else if (step.op === "dmaRead")
      expect(rig.dmaRead(step.offset, step.length, step.snoop)).toEqual(
        model.dmaRead(step.offset, step.length, step.snoop),
      );
    else if (step.op === "dmaWrite") {
      rig.dmaWrite(step.offset, bytes, step.snoop);
      model.dmaWrite(step.offset, bytes, step.snoop);
    }
    checkInvariants(rig);
    for (let line = 0; line < 16; line++)
      for (const at of [line * 64, line * 64 + 63]) {
        if (rig.ram.bytes[at] !== model.seen(at)) expect([n, at, rig.ram.bytes[at]]).toEqual([n, at, model.seen(at)]);
        if (rig.caches.memoryByte(at) !== model.memory[at])
          expect([n, at, rig.caches.memoryByte(at)]).toEqual([n, at, model.memory[at]]);
      }
  });
}

const RUNS = process.env.IRETQ_NIGHTLY === "1" ? 20_000 : 300;

describe("random programs of 4 CPUs and a device", () => {
  test("loads, stores, flushes and DMA with and without snooping give what caches with bytes of their own give", () => {
    fc.assert(
      fc.property(steps(fc.boolean(), false), program => {
        carryOut(program);
      }),
      { numRuns: RUNS },
    );
  });

  test("also when INVD throws everything away", () => {
    fc.assert(
      fc.property(steps(fc.boolean(), true), program => carryOut(program)),
      { numRuns: RUNS },
    );
  });

  test("when every device snoops, every load gives the byte that was stored last", () => {
    fc.assert(
      fc.property(steps(fc.constant(true), false), program => {
        const last = new Array<number>(17 * 64 + 200).fill(0);
        let n = 0;
        const rig = new Rig();
        for (const step of program) {
          n++;
          if (step.op === "load") expect(rig.load(step.cpu, step.offset)).toBe(last[step.offset]);
          else if (step.op === "store") {
            rig.store(step.cpu, step.offset, step.value);
            last[step.offset] = step.value;
          } else if (step.op === "flush") rig.caches.flush(0, Math.floor(step.offset / 64));
          else if (step.op === "wbinvd") rig.caches.writeBackAndInvalidateAll(0);
          else if (step.op === "dmaRead")
            expect(rig.dmaRead(step.offset, step.length, true)).toEqual(
              last.slice(step.offset, step.offset + step.length),
            );
          else if (step.op === "dmaWrite") {
            const bytes = Array.from({ length: step.length }, (_, i) => (n * 5 + i) & 0xff);
            rig.dmaWrite(step.offset, bytes, true);
            bytes.forEach((byte, i) => {
              last[step.offset + i] = byte;
            });
          }
        }
      }),
      { numRuns: RUNS },
    );
  });
});
