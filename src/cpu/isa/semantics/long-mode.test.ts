/**
 * Delivery and IRETQ of 64-bit mode exist twice: in generated code for the usual cases, and in system/ for all. Which one runs depends on what the TLB
 * holds, so that any difference would make runs differ. Here both get the same states, most of them valid, and must agree in every byte.
 */
import { expect, test } from "vitest";
import { Rng } from "../../../sim/rng.ts";
import * as L from "../../layout.ts";
import { LongFixture, PLACE, SELECT } from "../../long-fixture.ts";
import { FLAG } from "../../state.ts";

const CODE = 0x10000;
const HANDLER = 0x14000;
const KERNEL_STACK = 0x20000;
const USER_STACK = 0x28000;
const READ_ONLY = 0x2a000;
const ABSENT = 0x2b000;
const RAM_USED = 0x30000;
const RSP = L.GPR + L.REG.rsp * 8;
const VECTOR = 0x30;
const NX_HIGH = -0x7ff0000000;

/** What happens to the processor. */
const EVENTS = ["int n", "int3", "ud2", "#GP", "#PF", "intr", "nmi", "iretq"] as const;
type Event = (typeof EVENTS)[number];
const CODE_BYTES: { readonly [event in Event]: readonly number[] } = {
  "int n": [0xcd, VECTOR],
  int3: [0xcc],
  ud2: [0x0f, 0x0b],
  // mov ds,ax with a selector beyond the table
  "#GP": [0x8e, 0xd8],
  // mov al,[0x2b000]
  "#PF": [0x8a, 0x04, 0x25, 0x00, 0xb0, 0x02, 0x00],
  intr: [0x90],
  nmi: [0x90],
  iretq: [0x48, 0xcf],
};
const VECTORS: { readonly [event in Event]: number } = {
  "int n": VECTOR,
  int3: 3,
  ud2: 6,
  "#GP": 13,
  "#PF": 14,
  intr: VECTOR,
  nmi: 2,
  iretq: 13,
};

class Subject extends LongFixture {
  readonly told: number[][] = [];
  /** How often generated code did it. */
  quick = 0;

  constructor(slow: boolean) {
    super();
    this.cpu.ctx.trace.listen(
      { event: (_time, ...rest) => void this.told.push(rest) },
      Array.from({ length: 256 }, (_, n) => n),
    );
    const { ctx } = this.cpu;
    const { deliver } = ctx;
    ctx.deliver = (...args) => {
      const done = slow ? 0 : deliver(...args);
      this.quick += done;
      return done;
    };
    const told = this.cpu.told.bind(this.cpu);
    this.cpu.told = (event, value, before) => {
      if (slow) expect.unreachable("generated code did it although nothing was in the TLB");
      this.quick++;
      told(event, value, before);
    };
    this.apic.acknowledge = () => {
      this.cpu.intr(false);
      return VECTOR;
    };
  }

  /** Fills the TLB with every page that matters. */
  warm(): void {
    const { mmu } = this.cpu;
    for (let bank = 0; bank < L.BANK.strict; bank++) {
      for (let page = 0; page < RAM_USED; page += 4096) {
        for (const write of [false, true]) {
          try {
            mmu.probe(bank, page, 1, write);
          } catch {
            // Not permitted.
          }
        }
      }
    }
  }
}

/** A stack pointer that is usually good. */
function stackPointer(rng: Rng, base: number): number {
  switch (rng.below(24)) {
    case 0:
      return READ_ONLY + 0x800;
    case 1:
      return ABSENT + 0x800;
    case 2:
      return 2 ** 47 + 0x1000;
    case 3:
      return base + 8 * rng.below(6);
    case 4:
      return base + 0x1000 + 8 * rng.below(6);
    case 5:
      return base + 0x1000 + rng.below(4000);
    default:
      return base + 0x1000 + 16 * rng.below(200) + (rng.chance(1, 4) ? 8 : 0);
  }
}

const rare = (rng: Rng): boolean => rng.chance(1, 24);

function tables(rng: Rng, f: LongFixture, event: Event): void {
  const rights: [number, number][] = [
    [SELECT.code, 0xa09b],
    [SELECT.data, 0xc093],
    [SELECT.userData, 0xc0f3],
    [SELECT.userCode, 0xa0fb],
    [SELECT.code32, 0xc09b],
    [SELECT.conforming, 0xa09f],
  ];
  for (const [selector, attr] of rights) {
    const spoilt = rare(rng) ? attr ^ (1 << rng.below(16)) : attr;
    f.descriptor(selector, spoilt, rng.pick([0xfffff, 0, 0x12345]), rng.pick([0, 0x12345678]));
  }
  f.s.setLo(L.GDTR_LIMIT, rare(rng) ? 8 * rng.below(8) + rng.below(8) : 0x4f);
  const vector = VECTORS[event];
  const selector = rare(rng)
    ? rng.pick([0, 3, SELECT.code32, SELECT.conforming, SELECT.data, SELECT.code | 4, 0x200])
    : rng.pick([SELECT.code, SELECT.code, SELECT.code | 3, SELECT.userCode]);
  const right = rare(rng) ? rng.below(256) : rng.pick([0x8e, 0xee, 0x8f, 0xef]);
  const offset = rare(rng) ? rng.pick([2 ** 47, NX_HIGH, ABSENT]) : HANDLER + rng.below(64);
  f.gate(vector, offset, right, selector, rng.chance(1, 3) ? rng.below(8) : 0);
  for (const other of [8, 10, 11, 12, 13, 14])
    if (other !== vector) f.gate(other, HANDLER + 0x100 * other, 0x8e, SELECT.code, rng.below(2));
  f.s.setLo(L.IDTR_LIMIT, rare(rng) ? rng.below(0x400) : 0xfff);
  for (let i = 0; i < 3; i++)
    f.memory.setBigInt64(PLACE.tss + 4 + i * 8, BigInt(stackPointer(rng, KERNEL_STACK)), true);
  for (let i = 0; i < 7; i++)
    f.memory.setBigInt64(PLACE.tss + 36 + i * 8, BigInt(stackPointer(rng, KERNEL_STACK + 0x2000)), true);
  f.s.setLo(L.SEG_LIMIT + L.SEG.tr * 4, rare(rng) ? rng.below(0x68) : 0x67);
}

function pages(f: LongFixture): void {
  for (let page = 0; page < RAM_USED; page += 4096) f.map(page, page, 0x63);
  for (const page of [CODE, USER_STACK, USER_STACK + 0x1000]) f.map(page, page, 0x67);
  f.map(READ_ONLY, READ_ONLY, 0x65);
  f.map(ABSENT, ABSENT, 0);
}

const FLAGS = [FLAG.cf, FLAG.pf, FLAG.af, FLAG.zf, FLAG.sf, FLAG.of, FLAG.df, FLAG.if, FLAG.id, FLAG.vif];
function randomFlags(rng: Rng): number {
  let flags = 2 | (rng.below(4) << 12);
  for (const flag of FLAGS) if (rng.chance(1, 2)) flags |= flag;
  for (const flag of [FLAG.ac, FLAG.vip, FLAG.rf, FLAG.nt, FLAG.tf]) if (rng.chance(1, 10)) flags |= flag;
  return flags;
}

function segments(rng: Rng, f: LongFixture, user: boolean): void {
  const { seg } = f.cpu.units;
  const { s } = f;
  const load = (n: number, selector: number, attr: number, limit: number): void =>
    seg.setRaw(n, selector, 0, limit, attr);
  load(L.SEG.cs, user ? SELECT.userCode : SELECT.code, user ? 0xa0fb : 0xa09b, 0xffffffff);
  if (!user && rng.chance(1, 3)) seg.setNull(L.SEG.ss, 0);
  else load(L.SEG.ss, user ? SELECT.userData : SELECT.data, user ? 0xc0f3 : 0xc093, 0xffffffff);
  for (const n of [L.SEG.es, L.SEG.ds, L.SEG.fs, L.SEG.gs]) {
    const kind = rng.below(8);
    if (kind < 4) seg.setNull(n, rng.below(4));
    else if (kind < 7) load(n, SELECT.userData, 0xc0f3, 0xffffffff);
    else load(n, user ? SELECT.conforming : SELECT.data, user ? 0xa09f : 0xc093, 0xffffffff);
  }
  for (const n of [L.SEG.fs, L.SEG.gs]) s.setNum(L.SEG_BASE + n * 8, rng.pick([0, 0x1000, -0x800000000000]));
  s.setLo(L.CPL, user ? 3 : 0);
}

/** The five words that IRETQ pops. */
function frame(rng: Rng, f: LongFixture, user: boolean): void {
  const outer = user || rng.chance(2, 3);
  const cs = rare(rng)
    ? rng.pick([0, SELECT.code32, SELECT.conforming | 3, SELECT.data, SELECT.code | 4, SELECT.userCode & ~3])
    : outer
      ? SELECT.userCode
      : SELECT.code;
  const ss = rare(rng)
    ? rng.pick([0, 1, 3, SELECT.userCode, SELECT.data | 3, 0x1000])
    : outer
      ? SELECT.userData
      : rng.pick([0, SELECT.data]);
  const rip = rare(rng)
    ? rng.pick([2 ** 47, NX_HIGH, ABSENT])
    : outer
      ? CODE + 0x200 + rng.below(64)
      : HANDLER + rng.below(64);
  const rsp = stackPointer(rng, outer ? USER_STACK - 0x1000 : KERNEL_STACK);
  const flags = randomFlags(rng) | (rare(rng) ? FLAG.vm : 0);
  const sp = f.s.num(RSP);
  if (sp < 0 || sp + 40 > RAM_USED) return;
  const words = [rip, cs | (rare(rng) ? 0x10000 : 0), flags, rsp, ss];
  for (const [i, word] of words.entries()) f.memory.setBigInt64(sp + i * 8, BigInt(word), true);
}

/** Puts one random state into a fixture. */
function arrange(seed: number, f: LongFixture): Event {
  const rng = new Rng(seed);
  const { s } = f;
  const event = rng.chance(1, 3) ? "iretq" : rng.pick(EVENTS);
  f.cpu.reset("enter", "power");
  f.longMode();
  for (let n = 0; n < 16; n++) s.set64(n * 8, rng.u32(), rng.u32());
  s.set64(L.GPR, 0xfff0, 0);
  pages(f);
  s.setNum(L.GDTR_BASE, PLACE.gdt);
  s.setNum(L.IDTR_BASE, PLACE.idt);
  s.setNum(L.SEG_BASE + L.SEG.tr * 8, PLACE.tss);
  s.setLo(L.SEG_ATTR + L.SEG.tr * 4, 0x8b);
  s.setLo(L.SEG_SELECTOR + L.SEG.tr * 4, SELECT.tss);
  tables(rng, f, event);
  f.markTables();
  const user = rng.chance(1, 2);
  segments(rng, f, user);
  s.setLo(L.CR0, 0x80010011 | (rng.chance(1, 4) ? 0x40000 : 0));
  s.setLo(L.CR4, 0x620 | (rng.chance(1, 4) ? 0x200000 : 0));
  s.setNum(
    RSP,
    event === "iretq" && !rare(rng)
      ? (user ? USER_STACK : KERNEL_STACK + 0x1000) + 8 * rng.below(200)
      : stackPointer(rng, user ? USER_STACK - 0x1000 : KERNEL_STACK),
  );
  if (event === "iretq") frame(rng, f, user);
  s.eflags = randomFlags(rng) & ~(event === "iretq" && !rare(rng) ? FLAG.nt : 0) & ~FLAG.rf;
  if (event === "intr") s.setLo(L.FLAG_OTHER, s.int(L.FLAG_OTHER) | FLAG.if);
  if (rng.chance(1, 10)) s.setLo(L.DR7, 0x401);
  s.setNum(L.DR, ABSENT);
  s.setLo(L.NMI_BLOCKED, event === "nmi" ? 0 : rng.below(2));
  f.rip = CODE;
  f.load(CODE, new Uint8Array(0x400).fill(0x90));
  f.load(CODE, CODE_BYTES[event]);
  // With alignment checks a misaligned stack differs between "may be accessed at once" and not; what counts is that the outcome does not.
  f.cpu.restored();
  if (event === "intr" || rng.chance(1, 10)) f.cpu.intr(true);
  if (event === "nmi") f.cpu.nmi(0);
  return event;
}

/** What follows from the registers and must be settled, too. */
const DERIVED = [L.CODE_MODE, L.DTLB_BASE, L.ITLB_BASE, L.STACK_MASK, L.STACK_MASK + 4, L.FP_TRAP];
const derived = (f: LongFixture): number[] => DERIVED.map(offset => f.s.lo(offset));
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

test("generated code and TypeScript deliver and return alike: registers, memory, trace, outcome", () => {
  const [quick, slow] = [new Subject(false), new Subject(true)];
  for (const f of [quick, slow]) f.load(HANDLER, new Uint8Array(0x1000).fill(0x90));
  const clean = quick.ram.bytes.slice(0, RAM_USED);
  const cases = 2000;
  const byEvent = new Map<Event, number>();
  for (let seed = 0; seed < cases; seed++) {
    const results = [quick, slow].map(f => {
      f.ram.bytes.set(clean);
      f.told.length = 0;
      const before = f.quick;
      const event = arrange(seed, f);
      if (f === quick) f.warm();
      const done = f.cpu.run(1);
      if (f.quick !== before) byEvent.set(event, (byEvent.get(event) ?? 0) + 1);
      return { event, done, derived: derived(f), told: f.told.map(e => e.slice(0, 5)), activity: f.cpu.activity };
    });
    if (JSON.stringify(results[0]) !== JSON.stringify(results[1]))
      expect({ seed, ...results[0] }).toEqual({ seed, ...results[1] });
    if (!same(quick.registers, slow.registers)) {
      const at = quick.registers.findIndex((byte, i) => byte !== slow.registers[i]);
      expect.unreachable(`seed ${seed}, ${results[0]!.event}: byte 0x${at.toString(16)} of the registers differs`);
    }
    if (!same(quick.ram.bytes.subarray(0, RAM_USED), slow.ram.bytes.subarray(0, RAM_USED))) {
      const at = quick.ram.bytes.findIndex((byte, i) => byte !== slow.ram.bytes[i]);
      expect.unreachable(`seed ${seed}, ${results[0]!.event}: memory differs at 0x${at.toString(16)}`);
    }
  }
  expect(slow.quick).toBe(0);
  // Both ways were really compared, for each kind of event.
  for (const event of EVENTS) expect([event, (byEvent.get(event) ?? 0) > 20]).toEqual([event, true]);
});
