/**
 * Interrupts, exceptions and IRET of a scripted core, by the rules of 64-bit mode: 16-byte gates in memory, DPL, IST, stacks from the TSS, frames of
 * 64-bit words, double and triple faults. Intel SDM vol. 3A, chapter 6 (6.14 "Exception and Interrupt Handling in 64-bit Mode"); vol. 2 "IRET".
 *
 * The same as system/delivery-long.ts, without its descriptor tables: there are four flat segments (SELECTOR of ports/task.ts), and every other
 * selector is refused as one beyond the GDT's limit is.
 */
import { EVENT } from "../../ports/events.ts";
import { ACTIVITY } from "../../ports/processor.ts";
import { SELECTOR } from "../../ports/task.ts";
import type { Trace } from "../../sim/trace.ts";
import { EXC, GuestFault, raise } from "../context.ts";
import { FLAG } from "../state.ts";
import { CLEARED, checksDpl, extOf, idtError, KIND } from "../system/delivery-kind.ts";
import { FaultChain, makesDoubleFault } from "../system/exceptions.ts";
import { Activation, ENDING, ScriptedCode } from "./code-space.ts";
import type { ScriptedMemory } from "./memory.ts";
import { FLAGS_FIXED, FLAGS_WRITABLE, type ScriptedState } from "./state.ts";

const INTERRUPT_GATE = 0x0e;
const TRAP_GATE = 0x0f;
const CANONICAL_END = 2 ** 47;
const TWO32 = 4294967296;
/** Offsets in a 64-bit TSS (vol. 3A, figure 7-11): RSP0, and where IST1 would be if it were number 0. */
const RSP0 = 4;
const IST0 = 28;
const FRAME_BYTES = 40;

/** What delivery asks of its core. */
export type DeliveryOwner = {
  readonly index: number;
  readonly state: ScriptedState;
  /** Who runs. */
  current: Activation;
};

export class ScriptedDelivery {
  readonly chain = new FaultChain();
  /** Facts about the external interrupt or NMI that is delivered next, for the trace. */
  extInt = false;
  spurious = false;
  cause = 0;
  readonly #owner: DeliveryOwner;
  readonly #memory: ScriptedMemory;
  readonly #code: ScriptedCode;
  readonly #trace: Trace;
  readonly #entryCost: number;
  /** The gate's words. */
  #gate0 = 0;
  #gate1 = 0;
  #gate2 = 0;

  constructor(owner: DeliveryOwner, memory: ScriptedMemory, code: ScriptedCode, trace: Trace, entryCost: number) {
    this.#owner = owner;
    this.#memory = memory;
    this.#code = code;
    this.#trace = trace;
    this.#entryCost = entryCost;
  }

  /**
   * Delivers one event and whatever its delivery raises (SDM vol. 3A, 6.15): then a handler is current, or the core shut down.
   * @param kind one of KIND @param error −1 when the vector has no error code @param address for CR2, of a page fault
   */
  take(vector: number, kind: number, error: number, address: number): void {
    const { state: s } = this.#owner;
    this.chain.clear();
    for (;;) {
      if (vector === EXC.pf && kind === KIND.fault) s.cr2 = address;
      const rip = this.#code.addressOf(this.#owner.current);
      this.chain.add(vector, error, kind, rip, s.rsp, s.cr2);
      try {
        this.deliver(vector, kind, error);
        return;
      } catch (fault) {
        if (!(fault instanceof GuestFault)) throw fault;
        const double = makesDoubleFault(vector, kind, fault.vector);
        const triple = vector === EXC.df && kind === KIND.fault;
        if (double || triple) {
          if (fault.vector === EXC.pf) s.cr2 = fault.address;
          this.chain.add(fault.vector, fault.error, KIND.fault, rip, s.rsp, s.cr2);
        }
        if (triple) {
          s.activity = ACTIVITY.shutdown;
          this.#trace.emit(EVENT.shutdown, this.#owner.index, rip, 0, 0, 0);
          return;
        }
        vector = double ? EXC.df : fault.vector;
        error = double ? 0 : fault.error;
        address = fault.address;
        kind = KIND.fault;
      }
    }
  }

  /** One delivery. Throws {@link GuestFault}, having changed nothing, when it raises an exception itself. */
  deliver(vector: number, kind: number, error: number): void {
    const { state: s, index } = this.#owner;
    const rip = this.#code.addressOf(this.#owner.current);
    if (kind >= KIND.external) this.#tell(vector, kind, error, rip);
    const ext = extOf(kind);
    const { cpl } = s;
    this.#readGate(vector, kind, ext);
    const target = this.#codePrivilege(this.#gate0 >>> 16, ext);
    const ist = this.#gate1 & 7;
    const stack = ist !== 0 || target !== cpl ? this.#taskStack(target, ist, ext) : s.rsp;
    const bottom = Math.floor(stack / 16) * 16 - (error < 0 ? FRAME_BYTES : FRAME_BYTES + 8);
    const entry = (this.#gate2 >>> 0) * TWO32 + (((this.#gate1 & 0xffff0000) | (this.#gate0 & 0xffff)) >>> 0);
    if (!isCanonical(entry)) raise(EXC.gp, ext);
    const image = kind === KIND.fault ? s.flags | FLAG.rf : s.flags;
    this.#pushFrame(bottom, error, rip, image, target === 3);
    s.rsp = bottom;
    s.cs = ((this.#gate0 >>> 16) & 0xfffc) | target;
    if (target !== cpl) {
      s.ss = target;
      this.#setCpl(target);
    }
    s.flags &= ~((this.#gate1 & 0x100) === 0 ? CLEARED | FLAG.if : CLEARED);
    s.shadow = 0;
    if (kind === KIND.nmi) s.nmiBlocked = 1;
    s.stall += this.#entryCost;
    this.#enter(entry, vector);
    if (kind < KIND.external && this.#trace.wants[EVENT.softwareInterrupt] !== 0)
      this.#trace.emit(EVENT.softwareInterrupt, index, vector, 0, 0, 0);
  }

  #tell(vector: number, kind: number, error: number, rip: number): void {
    const trace = this.#trace;
    const { index } = this.#owner;
    if (kind === KIND.external) {
      if (trace.wants[EVENT.interrupt] === 0) return;
      trace.emit(EVENT.interrupt, index, vector, Number(this.extInt), Number(this.spurious), this.cause);
    } else if (kind === KIND.nmi) trace.emit(EVENT.nmi, index, 0, 0, 0, this.cause);
    else trace.emit(EVENT.exception, index, vector, error, rip, 0);
  }

  #readGate(vector: number, kind: number, ext: number): void {
    const { state: s } = this.#owner;
    const offset = vector * 16;
    if (offset + 15 > s.idtLimit) raise(EXC.gp, idtError(vector, ext));
    const memory = this.#memory;
    const address = s.idtBase + offset;
    const at = memory.direct(address, 16, false);
    if (at >= 0) {
      this.#gate0 = memory.view.getUint32(at, true);
      this.#gate1 = memory.view.getUint32(at + 4, true);
      this.#gate2 = memory.view.getUint32(at + 8, true);
    } else this.#readGateSlowly(address);
    const type = (this.#gate1 >>> 8) & 0x1f;
    if (type !== INTERRUPT_GATE && type !== TRAP_GATE) raise(EXC.gp, idtError(vector, ext));
    if (checksDpl(kind) && ((this.#gate1 >>> 13) & 3) < s.cpl) raise(EXC.gp, idtError(vector, 0));
    if ((this.#gate1 & 0x8000) === 0) raise(EXC.np, idtError(vector, ext));
  }

  #readGateSlowly(address: number): void {
    const memory = this.#memory;
    this.#gate0 = memory.read(address, 4, false);
    this.#gate1 = memory.read(address + 4, 4, false);
    this.#gate2 = memory.read(address + 8, 4, false);
  }

  /** Privilege level of the code segment that a gate names. */
  #codePrivilege(selector: number, ext: number): number {
    if ((selector & 0xfffc) === 0) raise(EXC.gp, ext);
    const privilege = codePrivilege(selector);
    if (privilege < 0 || privilege > this.#owner.state.cpl) raise(EXC.gp, (selector & 0xfffc) | ext);
    return privilege;
  }

  #taskStack(target: number, ist: number, ext: number): number {
    const { state: s } = this.#owner;
    const offset = ist === 0 ? RSP0 + target * 8 : IST0 + ist * 8;
    if (offset + 7 > s.taskLimit) raise(EXC.ts, (s.tr & 0xfffc) | ext);
    const stack = this.#memory.readAddress(s.taskBase + offset, false);
    return isCanonical(stack) ? stack : raise(EXC.ss, ext);
  }

  #pushFrame(bottom: number, error: number, rip: number, image: number, user: boolean): void {
    const { state: s } = this.#owner;
    const memory = this.#memory;
    const bytes = error < 0 ? FRAME_BYTES : FRAME_BYTES + 8;
    let at = memory.direct(bottom, bytes, true);
    if (at >= 0) {
      const { view } = memory;
      if (error >= 0) {
        putWord(view, at, error);
        at += 8;
      }
      put(view, at, rip);
      putWord(view, at + 8, s.cs);
      putWord(view, at + 16, image);
      put(view, at + 24, s.rsp);
      putWord(view, at + 32, s.ss);
      return;
    }
    memory.probe(bottom, bytes, user);
    at = bottom;
    if (error >= 0) {
      memory.write(at, 8, error, user);
      at += 8;
    }
    memory.write(at, 8, rip, user);
    memory.write(at + 8, 8, s.cs, user);
    memory.write(at + 16, 8, image, user);
    memory.write(at + 24, 8, s.rsp, user);
    memory.write(at + 32, 8, s.ss, user);
  }

  /** The handler at `entry` runs, on top of the present activation. */
  #enter(entry: number, vector: number): void {
    const over = this.#owner.current;
    over.suspended = true;
    const handler = this.#code.start(entry, ENDING.interruptReturn) ?? nothingAt(entry);
    handler.vector = vector;
    handler.over = over;
    this.#owner.current = handler;
  }

  /** IRETQ from the frame at RSP. Throws {@link GuestFault}, having changed nothing. */
  interruptReturn(): void {
    const { state: s, index } = this.#owner;
    const memory = this.#memory;
    const user = s.cpl === 3;
    const at = memory.direct(s.rsp, FRAME_BYTES, false);
    const { view } = memory;
    const rip = at >= 0 ? get(view, at) : memory.readAddress(s.rsp, user);
    const cs = (at >= 0 ? view.getUint16(at + 8, true) : memory.readPair(s.rsp + 8, user)) & 0xffff;
    const flags = at >= 0 ? view.getUint32(at + 16, true) : memory.readPair(s.rsp + 16, user);
    const rsp = at >= 0 ? get(view, at + 24) : memory.readAddress(s.rsp + 24, user);
    const ss = (at >= 0 ? view.getUint16(at + 32, true) : memory.readPair(s.rsp + 32, user)) & 0xffff;
    const target = cs & 3;
    if ((cs & 0xfffc) === 0) raise(EXC.gp, 0);
    if (codePrivilege(cs) !== target || target < s.cpl) raise(EXC.gp, cs & 0xfffc);
    if (target === 3 && ss !== SELECTOR.userData) raise(EXC.gp, ss & 0xfffc);
    if (!isCanonical(rip)) raise(EXC.gp, 0);
    const mask = user ? FLAGS_WRITABLE & ~FLAG.if : FLAGS_WRITABLE;
    s.flags = (s.flags & ~mask) | (flags & mask) | FLAGS_FIXED;
    s.cs = cs;
    s.ss = ss;
    s.rsp = rsp;
    s.nmiBlocked = 0;
    if (target !== s.cpl) this.#setCpl(target);
    this.jump(rip);
    if (this.#trace.wants[EVENT.iret] !== 0) this.#trace.emit(EVENT.iret, index, target, 0, 0, 0);
  }

  /** Execution goes on at `address`: in a suspended activation, at the beginning of a routine, or nowhere. The present activation ends. */
  jump(address: number): void {
    const owner = this.#owner;
    this.#code.finish(owner.current);
    this.go(address);
  }

  /** The same, but the present activation was suspended. */
  go(address: number): void {
    const owner = this.#owner;
    const next = this.#code.suspendedAt(address);
    if (next !== null) {
      next.suspended = false;
      if (ScriptedCode.skips(address)) {
        next.request = null;
        next.left = 0;
        next.result = 0;
      }
      owner.current = next;
    } else owner.current = this.#code.start(address, ENDING.return) ?? nothingAt(address);
  }

  #setCpl(cpl: number): void {
    const { state: s, index } = this.#owner;
    s.cpl = cpl;
    if (this.#trace.wants[EVENT.cpl] !== 0) this.#trace.emit(EVENT.cpl, index, cpl, 0, 0, 0);
  }
}

function put(view: DataView, at: number, value: number): void {
  const high = Math.floor(value / TWO32);
  view.setUint32(at, value - high * TWO32, true);
  view.setUint32(at + 4, high, true);
}

/** 8 bytes that hold a number of 32 bits. */
function putWord(view: DataView, at: number, value: number): void {
  view.setUint32(at, value, true);
  view.setUint32(at + 4, 0, true);
}

const get = (view: DataView, at: number): number => view.getUint32(at + 4, true) * TWO32 + view.getUint32(at, true);

const isCanonical = (address: number): boolean => address < CANONICAL_END && address >= -CANONICAL_END;

/** DPL of the code segment that a selector names, −1 when it names none. */
function codePrivilege(selector: number): number {
  if ((selector & 0xfffc) === SELECTOR.kernelCode) return 0;
  return (selector & 0xfffc) === (SELECTOR.userCode & 0xfffc) ? 3 : -1;
}

/** An address without code: its fetch will fault. */
function nothingAt(address: number): Activation {
  const nothing = new Activation(null, ENDING.return, `nothing at 0x${address.toString(16)}`);
  nothing.address = address;
  return nothing;
}
