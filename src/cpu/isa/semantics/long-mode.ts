/**
 * Interrupt delivery and IRETQ of 64-bit mode, the usual cases, in generated code (Intel SDM vol. 3A, 6.14; vol. 2, "INT n", "IRET"). Usual means: gate,
 * descriptors and stacks are present, valid and in the TLB, descriptors in the GDT and marked accessed, 64-bit code on both sides. Everything is looked at
 * before anything is changed; whatever is not usual is left to system/delivery-long.ts and system/iret.ts, which say what the manual says.
 */
import { c32, c64, type Ex, i32, i64, select, TY } from "../../emit/expr.ts";
import { FunctionBuilder, type Signature } from "../../emit/wasm.ts";
import { EVENT } from "../../../ports/events.ts";
import * as L from "../../layout.ts";
import { ARITH_FLAGS, FLAG } from "../../state.ts";
import type { InstructionSet } from "../define.ts";
import { condition } from "../flags.ts";
import type { Ops } from "../ops.ts";
import { tlbEntry } from "../tlb-entry.ts";

const RSP = L.GPR + L.REG.rsp * 8;
const BANK_SIZE = L.DTLB_ENTRIES * L.DTLB_ENTRY;
/** CF, PF, AF, ZF, SF, TF, DF, OF, NT and RF, AC, ID: what IRETQ always replaces. */
const IRET_ALWAYS = 0x4dd5 | FLAG.rf | FLAG.ac | FLAG.id;
/** What every gate clears. */
const CLEARED = FLAG.tf | FLAG.nt | FLAG.rf | FLAG.vm;
const SMAP = 1 << 21;
const PAGE_FAULT_VECTOR = 14;

/** (cpu, vector, gate's DPL counts, error code or −1, RFLAGS image): 1 when delivered, 0 when nothing was done. The return address is at ARG0. */
export const DELIVER: Signature = { params: [TY.i32, TY.i32, TY.i32, TY.i32, TY.i32], result: TY.i32 };

/** Code that fails by returning `failure` as soon as something is not usual. */
class Checked {
  readonly f: FunctionBuilder;
  readonly cpu: Ex;
  readonly #fail: () => void;
  constructor(f: FunctionBuilder, cpu: Ex, fail: () => void) {
    this.f = f;
    this.cpu = cpu;
    this.#fail = fail;
  }
  /** Goes on only when `condition` (i32) is not 0. */
  need(condition: Ex): void {
    this.f.if(i32.eqz(condition), this.#fail);
  }
  /** Host address of the bytes linear … linear + length − 1, which must be RAM that `bank` may access at once. */
  host(bank: Ex, linear: Ex, length: Ex, write: boolean): Ex {
    const entry = tlbEntry(this.f, bank, linear);
    const last = i64.add(linear, i64.sub(length, c64(1)));
    const tag = i64.load(entry, write ? L.DTLB.tagWrite : L.DTLB.tagRead);
    this.need(i64.eq(tag, i64.and(last, c64(-4096))));
    return this.f.let(i32.add(i32.wrap(linear), i32.load(entry, L.DTLB.addend)));
  }
  /** Bank of implicit supervisor accesses: descriptor tables, TSS. */
  systemBank(): Ex {
    const smap = i32.ne(i32.and(i32.load(this.cpu, L.CR4), c32(SMAP)), c32(0));
    return this.f.let(i32.add(i32.add(this.cpu, c32(L.DTLB_OFFSET)), i32.mul(smap, c32(BANK_SIZE))));
  }
  /** Host address of the GDT descriptor that `selector` names: not null, not in the LDT, inside the limit. */
  descriptor(bank: Ex, selector: Ex): { low: Ex; high: Ex } {
    const { f, cpu } = this;
    const offset = f.let(i32.and(selector, c32(0xfff8)));
    this.need(offset);
    this.need(i32.eqz(i32.and(selector, c32(4))));
    this.need(i32.leU(i32.add(offset, c32(7)), i32.load(cpu, L.GDTR_LIMIT)));
    const host = this.host(bank, f.let(i64.add(i64.load(cpu, L.GDTR_BASE), i64.extendU(offset))), c64(8), false);
    return { low: f.let(i32.load(host)), high: f.let(i32.load(host, 4)) };
  }
  /** A present, accessed, non-conforming 64-bit code segment; returns its DPL. */
  longCode(high: Ex): Ex {
    this.need(i32.eq(i32.and(i32.shrU(high, c32(8)), c32(0x9d)), c32(0x99)));
    this.need(i32.eq(i32.and(high, c32(0x600000)), c32(0x200000)));
    return this.f.let(i32.and(i32.shrU(high, c32(13)), c32(3)));
  }
  canonical(address: Ex): void {
    this.need(i64.eq(i64.shrS(i64.shl(address, c64(16)), c64(16)), address));
  }
  /** Fills the hidden part of CS or SS from a descriptor. */
  setSegment(seg: number, selector: Ex, low: Ex, high: Ex): void {
    const { f, cpu } = this;
    f.store32(cpu, L.SEG_SELECTOR + seg * 4, selector);
    f.store32(cpu, L.SEG_ATTR + seg * 4, i32.and(i32.shrU(high, c32(8)), c32(0xf0ff)));
    const raw = f.let(i32.or(i32.and(low, c32(0xffff)), i32.and(high, c32(0xf0000))));
    const scaled = i32.or(i32.shl(raw, c32(12)), c32(0xfff));
    f.store32(cpu, L.SEG_LIMIT + seg * 4, select(i32.and(high, c32(0x800000)), scaled, raw));
    const base = i32.or(
      i32.shrU(low, c32(16)),
      i32.or(i32.shl(i32.and(high, c32(0xff)), c32(16)), i32.and(high, c32(0xff000000 | 0))),
    );
    f.store32(cpu, L.SEG_HIDDEN_BASE + seg * 4, base);
  }
  /** SS with a null selector of privilege `level`. */
  nullStack(level: Ex): void {
    const { f, cpu } = this;
    f.store32(cpu, L.SEG_SELECTOR + L.SEG.ss * 4, level);
    f.store32(cpu, L.SEG_ATTR + L.SEG.ss * 4, i32.or(i32.shl(level, c32(5)), c32(L.ATTR_UNUSABLE)));
    f.store32(cpu, L.SEG_LIMIT + L.SEG.ss * 4, c32(0));
    f.store32(cpu, L.SEG_HIDDEN_BASE + L.SEG.ss * 4, c32(0));
  }
}

/** Stack pointer for a handler: RSPn or ISTn of the TSS (SDM vol. 3A, figure 7-11). */
function taskStack(c: Checked, bank: Ex, target: Ex, ist: Ex): Ex {
  const { f, cpu } = c;
  const offset = f.let(select(ist, i32.add(i32.shl(ist, c32(3)), c32(28)), i32.add(i32.shl(target, c32(3)), c32(4))));
  c.need(i32.leU(i32.add(offset, c32(7)), i32.load(cpu, L.SEG_LIMIT + L.SEG.tr * 4)));
  const address = f.let(i64.add(i64.load(cpu, L.SEG_BASE + L.SEG.tr * 8), i64.extendU(offset)));
  const sp = f.let(i64.load(c.host(bank, address, c64(8), false)));
  c.canonical(sp);
  return sp;
}

/** The body of {@link DELIVER}. */
export function deliverBody(): FunctionBuilder {
  const f = new FunctionBuilder(DELIVER);
  const [cpu, vector, checkDpl, error, image] = [0, 1, 2, 3, 4].map(n => f.param(n)) as [Ex, Ex, Ex, Ex, Ex];
  const c = new Checked(f, cpu, () => f.return(c32(0)));
  c.need(i32.eq(i32.load(cpu, L.CODE_MODE), c32(2)));
  const cpl = f.let(i32.load(cpu, L.CPL));
  const bank = c.systemBank();
  const offset = f.let(i32.shl(vector, c32(4)));
  c.need(i32.leU(i32.add(offset, c32(15)), i32.load(cpu, L.IDTR_LIMIT)));
  const gate = c.host(bank, f.let(i64.add(i64.load(cpu, L.IDTR_BASE), i64.extendU(offset))), c64(16), false);
  const gate1 = f.let(i32.load(gate, 4));
  // Present, interrupt or trap gate.
  c.need(i32.eq(i32.and(gate1, c32(0x9e00)), c32(0x8e00)));
  c.need(i32.or(i32.eqz(checkDpl), i32.geU(i32.and(i32.shrU(gate1, c32(13)), c32(3)), cpl)));
  const selector = f.let(i32.load16u(gate, 2));
  const d = c.descriptor(bank, selector);
  const target = c.longCode(d.high);
  c.need(i32.leU(target, cpl));
  const rip = f.let(
    i64.or(
      i64.shl(i64.load32u(gate, 8), c64(32)),
      i64.extendU(i32.or(i32.and(gate1, c32(0xffff0000 | 0)), i32.load16u(gate))),
    ),
  );
  c.canonical(rip);
  // The frame.
  const ist = f.let(i32.and(gate1, c32(7)));
  const sp = f.local(TY.i64);
  const inner = f.let(i32.ne(target, cpl));
  f.if(
    i32.or(ist, inner),
    () => f.set(sp, taskStack(c, bank, target, ist)),
    () => f.set(sp, i64.load(cpu, RSP)),
  );
  const length = f.let(select(i32.ltS(error, c32(0)), c64(40), c64(48)));
  const bottom = f.let(i64.sub(i64.and(sp, c64(-16)), length));
  const stackBank = f.local(TY.i32);
  f.set(stackBank, i32.load(cpu, L.DTLB_BASE));
  f.if(inner, () => {
    // With AC set the supervisor's other bank would count.
    c.need(i32.eqz(i32.and(i32.load(cpu, L.FLAG_OTHER), c32(FLAG.ac))));
    f.set(stackBank, bank);
  });
  const frame = f.let(c.host(stackBank, bottom, length, true));
  const at = f.local(TY.i32);
  f.set(at, frame);
  f.if(i32.geS(error, c32(0)), () => {
    f.store64(frame, 0, i64.extendU(error));
    f.set(at, i32.add(frame, c32(8)));
  });
  f.store64(at, 0, i64.load(cpu, L.ARG0));
  f.store64(at, 8, i64.load32u(cpu, L.SEG_SELECTOR + L.SEG.cs * 4));
  f.store64(at, 16, i64.extendU(image));
  f.store64(at, 24, i64.load(cpu, RSP));
  f.store64(at, 32, i64.load32u(cpu, L.SEG_SELECTOR + L.SEG.ss * 4));
  // Enter.
  c.setSegment(L.SEG.cs, i32.or(i32.and(selector, c32(0xfffc)), target), d.low, d.high);
  f.if(inner, () => {
    c.nullStack(target);
    f.store32(cpu, L.CPL, target);
  });
  f.store64(cpu, RSP, bottom);
  f.store64(cpu, L.RIP, rip);
  const trapGate = i32.and(gate1, c32(0x100));
  const keep = select(trapGate, c32(~CLEARED), c32(~(CLEARED | FLAG.if)));
  f.store32(cpu, L.FLAG_OTHER, i32.and(i32.load(cpu, L.FLAG_OTHER), keep));
  f.store32(cpu, L.SHADOW, c32(0));
  f.return(c32(1));
  f.unreachable();
  return f;
}

/** RFLAGS as it would be pushed. */
export function flagsImage(o: Ops): Ex {
  // Condition code whose truth is the flag, and the flag's bit.
  const bits: readonly (readonly [number, number])[] = [
    [2, 0],
    [10, 2],
    [4, 6],
    [8, 7],
    [0, 11],
  ];
  let value: Ex = i32.or(i32.load(o.cpu, L.FLAG_OTHER), c32(2));
  for (const [code, bit] of bits) value = o.let(i32.or(value, i32.shl(i32.ne(condition(o, code), c32(0)), c32(bit))));
  return o.let(i32.or(value, i32.shl(i32.and(i32.load(o.cpu, L.FLAG_AUX), c32(8)), c32(1))));
}

/** Takes the six arithmetic flags from an image, in the canonical lazy form of cpu/state.ts. */
export function loadArithmetic(o: Ops, image: Ex): void {
  const bit = (n: number): Ex => i32.and(i32.shrU(image, c32(n)), c32(1));
  const carry = o.let(bit(0));
  const zero = o.let(bit(6));
  o.f.store64(o.cpu, L.FLAG_RESULT, i64.extendU(i32.xor(zero, c32(1))));
  const carries = i32.or(i32.shl(carry, c32(31)), i32.shl(i32.xor(carry, bit(11)), c32(30)));
  const rest = i32.or(i32.shl(bit(4), c32(3)), i32.or(bit(7), i32.shl(i32.xor(bit(2), zero), c32(8))));
  o.f.store32(o.cpu, L.FLAG_AUX, i32.or(carries, rest));
}

/** Behind a delivery or return: the TypeScript side hears of it, then the code at RIP goes on unless something waits. */
export function go(o: Ops, event: number, value: Ex, oldCpl: Ex): void {
  o.f.do(o.f.call(o.rt.told, o.cpu, c32(event), value, oldCpl), false);
  const flags = i32.and(i32.load(o.cpu, L.FLAG_OTHER), c32(FLAG.tf | FLAG.rf));
  o.f.if(i32.or(i32.load(o.cpu, L.PENDING_OFFSET), flags), () => {
    o.f.store32(o.cpu, L.RECORD, o.rec);
    o.f.return(c32(L.EXIT.changed));
  });
  o.goto(o.let(i64.load(o.cpu, L.RIP)));
}

function softwareInterrupt(o: Ops): void {
  o.f.store64(o.cpu, L.ARG0, o.nextRip());
  const vector = o.let(i32.and(o.field32(L.REC.imm), c32(0xff)));
  const cpl = o.let(i32.load(o.cpu, L.CPL));
  const image = flagsImage(o);
  const done = o.f.call(o.rt.deliver, o.cpu, vector, c32(1), c32(-1), image);
  o.f.if(i32.eqz(done), () => o.helper("int_n"));
  go(o, EVENT.softwareInterrupt, vector, cpl);
}

function interruptReturn(o: Ops): void {
  const { f, cpu } = o;
  f.block(leave => {
    const c = new Checked(f, cpu, () => leave());
    const other = o.let(i32.load(cpu, L.FLAG_OTHER));
    c.need(i32.eqz(i32.and(other, c32(FLAG.nt))));
    const cpl = o.let(i32.load(cpu, L.CPL));
    const sp = o.let(i64.load(cpu, RSP));
    c.need(i64.eqz(i64.and(sp, c64(7))));
    const frame = c.host(i32.load(cpu, L.DTLB_BASE), sp, c64(40), false);
    const rip = o.let(i64.load(frame));
    c.canonical(rip);
    const cs = o.let(i32.load16u(frame, 8));
    const image = o.let(i32.load(frame, 16));
    const ss = o.let(i32.load16u(frame, 32));
    const level = o.let(i32.and(cs, c32(3)));
    c.need(i32.or(i32.eq(level, cpl), i32.eq(level, c32(3))));
    const bank = c.systemBank();
    const code = c.descriptor(bank, cs);
    c.need(i32.eq(c.longCode(code.high), level));
    c.need(i32.eq(i32.and(ss, c32(3)), level));
    // A null SS is as good as any below ring 3; else a present, accessed, writable data segment of that level.
    const isNull = o.let(i32.eqz(i32.and(ss, c32(0xfffc))));
    const low = f.local(TY.i32);
    const high = f.local(TY.i32);
    f.if(
      isNull,
      () => c.need(i32.ne(level, c32(3))),
      () => {
        const stack = c.descriptor(bank, ss);
        c.need(i32.eq(i32.and(i32.shrU(stack.high, c32(8)), c32(0x9b)), c32(0x93)));
        c.need(i32.eq(i32.and(i32.shrU(stack.high, c32(13)), c32(3)), level));
        f.set(low, stack.low);
        f.set(high, stack.high);
      },
    );
    // Data segments that the outer level may not keep have to be made null.
    f.if(i32.ne(level, cpl), () => {
      for (const seg of [L.SEG.es, L.SEG.ds, L.SEG.fs, L.SEG.gs]) {
        const attr = o.let(i32.load(cpu, L.SEG_ATTR + seg * 4));
        const kept = i32.eq(i32.and(attr, c32(0x60)), c32(0x60));
        c.need(i32.or(i32.ne(i32.and(attr, c32(L.ATTR_UNUSABLE)), c32(0)), kept));
      }
    });
    f.store32(cpu, L.NMI_BLOCKED, c32(0));
    loadArithmetic(o, image);
    const interrupts = select(i32.leU(cpl, i32.and(i32.shrU(other, c32(12)), c32(3))), c32(FLAG.if), c32(0));
    const system = select(cpl, c32(0), c32(FLAG.iopl | FLAG.vif | FLAG.vip));
    const mask = o.let(i32.and(i32.or(c32(IRET_ALWAYS), i32.or(interrupts, system)), c32(~ARITH_FLAGS)));
    // RF counts only if an instruction breakpoint is armed or something waits (see system/iret.ts).
    const armed = i32.or(i32.and(i32.load(cpu, L.DR7), c32(0xff)), i32.load(cpu, L.PENDING_OFFSET));
    const flags = o.let(i32.or(i32.and(other, i32.not(mask)), i32.and(image, mask)));
    f.store32(cpu, L.FLAG_OTHER, select(armed, flags, i32.and(flags, c32(~FLAG.rf))));
    c.setSegment(L.SEG.cs, cs, code.low, code.high);
    f.if(
      isNull,
      () => c.nullStack(level),
      () => c.setSegment(L.SEG.ss, ss, low, high),
    );
    f.store32(cpu, L.CPL, level);
    f.store64(cpu, RSP, i64.load(frame, 24));
    f.store64(cpu, L.RIP, rip);
    go(o, EVENT.iret, level, cpl);
  });
  o.helper("iret");
}

/**
 * The instruction at `rec` raised a fault. A page that generated code itself found absent leads to the #PF handler from here, if that is simple; else the
 * run loop hears of the fault. The same as `X86Cpu.#deliverDirectly`.
 */
export function emitFault(o: Ops): void {
  const { f, cpu } = o;
  f.block(leave => {
    const found = o.let(i32.load(cpu, L.PAGE_FAULT));
    leave(i32.or(i32.eqz(found), i32.ne(i32.load(cpu, L.CODE_MODE), c32(2))));
    const cpl = o.let(i32.load(cpu, L.CPL));
    const error = o.let(i32.and(found, c32(L.PAGE_FAULT_FOUND - 1)));
    f.store64(cpu, L.ARG0, o.rip());
    const image = o.let(i32.or(flagsImage(o), c32(FLAG.rf)));
    leave(i32.eqz(f.call(o.rt.deliver, cpu, c32(PAGE_FAULT_VECTOR), c32(0), error, image)));
    f.store64(cpu, L.CR2, i64.load(cpu, L.SLOW_ADDRESS));
    f.store32(cpu, L.PAGE_FAULT, c32(0));
    // It did not retire.
    f.store32(cpu, L.COUNT, i32.add(i32.load(cpu, L.COUNT), c32(1)));
    f.store32(cpu, L.DEBUG_TRAP, c32(0));
    f.store32(cpu, L.PENDING_OFFSET, i32.and(i32.load(cpu, L.PENDING_OFFSET), c32(~L.PENDING.debugTrap)));
    go(o, EVENT.exception, error, cpl);
  });
  f.store32(cpu, L.RECORD, o.rec);
  f.return(c32(L.EXIT.fault));
  f.unreachable();
}

/** INT n and IRET; in legacy code, and with other operand sizes, the TypeScript helpers. */
export function defineLongMode(set: InstructionSet): void {
  set.twin("int_n", "iret");
  set.define("int_n", [32], "none", o => (o.legacy ? o.helper("int_n") : softwareInterrupt(o)), true);
  set.define(
    "iret",
    [16, 32, 64],
    "none",
    (o, size) => (o.legacy || size !== 64 ? o.helper("iret") : interruptReturn(o)),
    true,
  );
}
