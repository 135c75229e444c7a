/**
 * What each operation of a task does (ports/task.ts). An operation either does all of it, or throws a guest's fault and has done nothing.
 */
import { assert, HostError } from "../../base/assert.ts";
import { EVENT } from "../../ports/events.ts";
import type { PageMap } from "../../ports/page-map.ts";
import { ACTIVITY } from "../../ports/processor.ts";
import {
  CACHE_OP,
  GPR,
  interruptReturn,
  OP,
  PUSH_ALL_BYTES,
  Request,
  SELECTOR,
  SPECIAL,
  SWITCH_FRAME_BYTES,
} from "../../ports/task.ts";
import { EXC, raise } from "../context.ts";
import { FLAG } from "../state.ts";
import { KIND } from "../system/delivery-kind.ts";
import { SHADOW_KIND } from "../system/interrupt-window.ts";
import { type Activation, ENDING } from "./code-space.ts";
import type { ScriptedCore, ScriptedParts } from "./core.ts";
import type { ScriptedMemory } from "./memory.ts";
import { FLAGS_FIXED, FLAGS_WRITABLE, type ScriptedState } from "./state.ts";

const TWO32 = 4294967296;
const EXACT_HIGH = 0x1fffff;
const CACHE_LINE = 64;
/** CR0 and CR4 of a kernel in 64-bit mode: PG, NE, PE; PAE. EFER is not there to be read. */
const CR0_VALUE = 0x80000021;
const CR4_VALUE = 0x20;
/** Order of {@link OP.pushAll}: RAX is pushed first. */
const PUSHED = [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] as const;
/** Callee-saved registers, in the order in which they lie on the stack from its end up (System V ABI, AMD64 supplement, 3.2.1). */
const CALLEE_SAVED = [GPR.r15, GPR.r14, GPR.r13, GPR.r12, GPR.rbp, GPR.rbx] as const;
/** The end of a handler. */
const RETURN_FROM_INTERRUPT = interruptReturn();
/** The end of a routine that was jumped to: RET. */
const OP_RETURN = 255;
const RETURN = new Request(OP_RETURN);

export class Operations {
  readonly #core: ScriptedCore;
  readonly #s: ScriptedState;
  readonly #memory: ScriptedMemory;
  readonly #p: ScriptedParts;

  constructor(core: ScriptedCore, parts: ScriptedParts) {
    this.#core = core;
    this.#s = core.state;
    this.#memory = core.memory;
    this.#p = parts;
  }

  /** The operation that ends an activation whose routine is over; null: it idles. */
  endOf(at: Activation): Request | null {
    if (at.ending === ENDING.interruptReturn) return RETURN_FROM_INTERRUPT;
    return at.ending === ENDING.return ? RETURN : null;
  }

  /** Carries out `request` of `at`; `memory.cost` is what it costs, where it is not 1. */
  perform(request: Request, at: Activation): number {
    const { op, a, b, c } = request;
    const s = this.#s;
    const memory = this.#memory;
    switch (op) {
      case OP.load:
        return memory.read(a, b, s.cpl === 3);
      case OP.store:
        memory.write(a, b, c, s.cpl === 3);
        return 0;
      case OP.exchange: {
        const user = s.cpl === 3;
        memory.probe(a, 4, user);
        // Locked: what waits in a store buffer comes first.
        this.#p.bus.caches?.fence();
        const old = memory.read(a, 4, user);
        memory.write(a, 4, b, user);
        this.#p.bus.caches?.fence();
        return old;
      }
      case OP.portIn:
        this.#privileged();
        memory.cost += this.#p.costs.portRead;
        return this.#p.bus.portRead(a, b) >>> 0;
      case OP.portOut:
        this.#privileged();
        memory.cost += this.#p.costs.portWrite;
        this.#p.bus.portWrite(a, b, b === 4 ? c >>> 0 : b === 2 ? c & 0xffff : c & 0xff);
        return 0;
      case OP.cli:
        this.#privileged();
        s.flags &= ~FLAG.if;
        return 0;
      case OP.sti:
        this.#sti();
        return 0;
      case OP.halt:
        this.#privileged();
        s.activity = ACTIVITY.halted;
        this.#p.trace.emit(EVENT.halt, this.#core.index, 0, 0, 0, 0);
        return 0;
      case OP.pause:
        return 0;
      case OP.clock:
        return this.#p.clock.now();
      default:
        return this.#performOther(request, at);
    }
  }

  #performOther({ op, a, b, c, map }: Request, at: Activation): number {
    switch (op) {
      case OP.touch:
        this.#memory.cost += linesOf(a, b) * this.#p.costs.cacheMiss;
        return 0;
      case OP.fence:
        this.#p.bus.caches?.fence();
        this.#memory.cost += this.#p.costs.fence;
        return 0;
      case OP.cache:
        return this.#cacheOperation(a, b, c);
      case OP.int:
        return this.#softwareInterrupt(a, KIND.softwareInt, at);
      case OP.breakpoint:
        return this.#softwareInterrupt(EXC.bp, KIND.int3, at);
      case OP.undefined:
        return raise(EXC.ud);
      case OP.divide:
        return b === 0 ? raise(EXC.de) : Math.floor(a / b);
      case OP.getRegister:
        return this.#register(a);
      case OP.setRegister:
        this.#setRegister(a, b, c);
        return 0;
      case OP.getSpecial:
        return this.#special(a);
      case OP.setSpecial:
        this.#setSpecial(a, b);
        return 0;
      case OP.interruptReturn:
        this.#core.delivery.interruptReturn();
        this.#memory.cost = this.#p.costs.interruptExit;
        return 0;
      case OP_RETURN:
        this.#return();
        return 0;
      default:
        return this.#performStack(op, a, b) ?? this.#performSystem(op, a, b, c, map);
    }
  }

  #performStack(op: number, a: number, b: number): number | null {
    const s = this.#s;
    const memory = this.#memory;
    const user = s.cpl === 3;
    switch (op) {
      case OP.push:
        if (b === 0) memory.write(s.rsp - 8, 8, a, user);
        s.rsp -= b === 0 ? 8 : a;
        return 0;
      case OP.pop: {
        const value = memory.read(s.rsp, 8, user);
        s.rsp += 8;
        return value;
      }
      case OP.pushAll: {
        const bottom = s.rsp - PUSH_ALL_BYTES;
        const at = memory.direct(bottom, PUSH_ALL_BYTES, true);
        if (at >= 0) this.#saveAll(at + PUSH_ALL_BYTES);
        else {
          memory.probe(bottom, PUSH_ALL_BYTES, user);
          for (let i = 0; i < PUSHED.length; i++) this.#saveRegister(s.rsp - 8 * (i + 1), PUSHED[i]!, user);
        }
        s.rsp = bottom;
        return 0;
      }
      case OP.popAll: {
        memory.read(s.rsp + PUSH_ALL_BYTES - 8, 4, user);
        const at = memory.direct(s.rsp, PUSH_ALL_BYTES, false);
        if (at >= 0) this.#loadAll(at + PUSH_ALL_BYTES);
        else {
          for (let i = 0; i < PUSHED.length; i++)
            this.#loadRegister(s.rsp + PUSH_ALL_BYTES - 8 * (i + 1), PUSHED[i]!, user);
        }
        s.rsp += PUSH_ALL_BYTES;
        return 0;
      }
      case OP.switchTo:
        this.#switchTo(a, b);
        return 0;
      default:
        return null;
    }
  }

  #performSystem(op: number, a: number, b: number, c: number, map: PageMap | null): number {
    const s = this.#s;
    const { costs } = this.#p;
    this.#privileged();
    switch (op) {
      case OP.loadIdt:
        s.idtBase = a;
        s.idtLimit = b;
        return 0;
      case OP.loadTask:
        s.taskBase = a;
        s.taskLimit = b;
        s.tr = SELECTOR.task;
        return 0;
      case OP.setPageMap:
        assert(map !== null, "setPageMap without a map");
        this.#memory.map = map;
        return 0;
      case OP.invalidatePage:
        this.#memory.cost += costs.invalidatePage;
        return 0;
      case OP.readMsr:
        this.#memory.cost += costs.msr;
        return this.#readMsr(a);
      case OP.writeMsr: {
        this.#memory.cost += costs.msr;
        const { trace, apic } = this.#p;
        if (trace.wants[EVENT.msrWrite] !== 0) trace.emit(EVENT.msrWrite, this.#core.index, a, b >>> 0, c >>> 0, 0);
        return apic.writeMsr(a, b | 0, c >>> 0) ? 0 : raise(EXC.gp, 0);
      }
      default:
        throw new HostError(`a task yielded an operation that does not exist: ${op}`, 66);
    }
  }

  #privileged(): void {
    if (this.#s.cpl !== 0) raise(EXC.gp, 0);
  }

  /** SDM vol. 2, "STI": the shadow is there only when IF was 0. */
  #sti(): void {
    this.#privileged();
    const s = this.#s;
    if ((s.flags & FLAG.if) !== 0) return;
    s.flags |= FLAG.if;
    s.shadow = SHADOW_KIND.sti;
  }

  #cacheOperation(operation: number, address: number, bytes: number): number {
    const caches = this.#p.bus.caches ?? null;
    if (operation >= CACHE_OP.writeBackAndInvalidateAll) {
      this.#privileged();
      if (operation === CACHE_OP.writeBackAndInvalidateAll) caches?.writeBackAndInvalidateAll();
      else caches?.invalidateAll();
      this.#memory.cost += this.#p.costs.cacheLine;
      return 0;
    }
    const user = this.#s.cpl === 3;
    const first = Math.floor(address / CACHE_LINE);
    const lines = linesOf(address, bytes);
    for (let line = first; line < first + lines; line++) {
      const physical = this.#memory.physical(line * CACHE_LINE, user);
      if (operation === CACHE_OP.flush) caches?.flush(physical);
      else caches?.writeBack(physical);
    }
    this.#memory.cost += lines * this.#p.costs.cacheLine;
    return 0;
  }

  /** The return address lies behind the instruction: it is over, whatever its handler finds. */
  #softwareInterrupt(vector: number, kind: number, at: Activation): number {
    if (!(vector >= 0 && vector <= 255)) throw new HostError(`int(${vector}): vectors are 0 to 255`, 66);
    at.request = null;
    at.result = 0;
    // Its own exception is a fault: the instruction would run again.
    this.#core.delivery.deliver(vector, kind, -1);
    this.#memory.cost = 1;
    return 0;
  }

  // --- registers --------------------------------------------------------------------------------------------------------------------------------

  #register(register: number): number {
    if (register === GPR.rsp) return this.#s.rsp;
    const { gpr } = this.#s;
    const high = gpr[2 * register + 1]!;
    if (high > EXACT_HIGH) throw new HostError(`register ${register} holds more than 53 bits`, 66);
    return high * TWO32 + gpr[2 * register]!;
  }

  #setRegister(register: number, low: number, high: number): void {
    if (register === GPR.rsp) {
      this.#s.rsp = low;
      return;
    }
    const top = high >= 0 ? high : Math.floor(low / TWO32);
    this.#s.gpr[2 * register] = low;
    this.#s.gpr[2 * register + 1] = top;
  }

  #saveRegister(address: number, register: number, user: boolean): void {
    const { gpr } = this.#s;
    this.#memory.writePair(address, gpr[2 * register]!, gpr[2 * register + 1]!, user);
  }

  #loadRegister(address: number, register: number, user: boolean): void {
    const { gpr } = this.#s;
    gpr[2 * register] = this.#memory.readPair(address, user);
    gpr[2 * register + 1] = this.#memory.high;
  }

  /** All of {@link PUSHED} into RAM that may be written, downwards from offset `end`. */
  #saveAll(end: number): void {
    const { gpr } = this.#s;
    const { view } = this.#memory;
    for (let i = 0; i < PUSHED.length; i++) {
      const register = PUSHED[i]!;
      view.setUint32(end - 8 * i - 8, gpr[2 * register]!, true);
      view.setUint32(end - 8 * i - 4, gpr[2 * register + 1]!, true);
    }
  }

  #loadAll(end: number): void {
    const { gpr } = this.#s;
    const { view } = this.#memory;
    for (let i = 0; i < PUSHED.length; i++) {
      const register = PUSHED[i]!;
      gpr[2 * register] = view.getUint32(end - 8 * i - 8, true);
      gpr[2 * register + 1] = view.getUint32(end - 8 * i - 4, true);
    }
  }

  #special(register: number): number {
    const s = this.#s;
    if (register >= SPECIAL.dr0 && register <= SPECIAL.dr7) {
      this.#privileged();
      return s.debug[register - SPECIAL.dr0]!;
    }
    if (register >= SPECIAL.ds && register <= SPECIAL.gs) return s.segments[register - SPECIAL.ds]!;
    switch (register) {
      case SPECIAL.flags:
        return s.flags;
      case SPECIAL.cpu:
        return this.#core.index;
      case SPECIAL.cpl:
        return s.cpl;
      case SPECIAL.cs:
        return s.cs;
      case SPECIAL.ss:
        return s.ss;
      case SPECIAL.tr:
        return s.tr;
      case SPECIAL.ldtr:
        return s.ldtr;
      case SPECIAL.idt:
        return s.idtBase;
      case SPECIAL.task:
        return s.taskBase;
      default:
        return this.#control(register);
    }
  }

  #control(register: number): number {
    this.#privileged();
    switch (register) {
      case SPECIAL.cr0:
        return CR0_VALUE;
      case SPECIAL.cr2:
        return this.#s.cr2;
      case SPECIAL.cr3:
        return this.#memory.map.root;
      case SPECIAL.cr4:
        return CR4_VALUE;
      case SPECIAL.cr8:
        this.#memory.cost += this.#p.costs.msr;
        return this.#p.apic.readCr8();
      default:
        throw new HostError(`there is no special register ${register}`, 66);
    }
  }

  #setSpecial(register: number, value: number): void {
    const s = this.#s;
    if (register === SPECIAL.flags) {
      // POPF: IF is changed only by code that may execute STI.
      const mask = s.cpl === 0 ? FLAGS_WRITABLE : FLAGS_WRITABLE & ~FLAG.if;
      s.flags = (s.flags & ~mask) | (value & mask) | FLAGS_FIXED;
    } else if (register >= SPECIAL.ds && register <= SPECIAL.gs) s.segments[register - SPECIAL.ds] = value & 0xffff;
    else {
      this.#privileged();
      if (register >= SPECIAL.dr0 && register <= SPECIAL.dr7) s.debug[register - SPECIAL.dr0] = value;
      else if (register === SPECIAL.cr2) s.cr2 = value;
      else if (register === SPECIAL.cr8) {
        this.#memory.cost += this.#p.costs.msr;
        this.#p.apic.writeCr8(value);
      } else throw new HostError(`special register ${register} cannot be written`, 66);
    }
  }

  #readMsr(index: number): number {
    const { trace, apic } = this.#p;
    if (!apic.readMsr(index)) raise(EXC.gp, 0);
    const low = apic.msrLow >>> 0;
    const high = apic.msrHigh >>> 0;
    if (trace.wants[EVENT.msrRead] !== 0) trace.emit(EVENT.msrRead, this.#core.index, index, low, high, 0);
    return high * TWO32 + low;
  }

  // --- stacks -----------------------------------------------------------------------------------------------------------------------------------

  /** RET. */
  #return(): void {
    const s = this.#s;
    const address = this.#memory.readAddress(s.rsp, s.cpl === 3);
    s.rsp += 8;
    this.#core.delivery.jump(address);
  }

  #switchTo(saveAt: number, rsp: number): void {
    this.#privileged();
    const s = this.#s;
    const memory = this.#memory;
    const { current, delivery } = this.#core;
    const bottom = s.rsp - SWITCH_FRAME_BYTES;
    memory.probe(bottom, SWITCH_FRAME_BYTES, false);
    memory.probe(saveAt, 8, false);
    memory.readAddress(rsp, false);
    const target = memory.readAddress(rsp + SWITCH_FRAME_BYTES - 8, false);
    for (let i = 0; i < CALLEE_SAVED.length; i++) this.#saveRegister(bottom + 8 * i, CALLEE_SAVED[i]!, false);
    memory.write(s.rsp - 8, 8, this.#p.code.addressOf(current), false);
    memory.write(saveAt, 8, bottom, false);
    for (let i = 0; i < CALLEE_SAVED.length; i++) this.#loadRegister(rsp + 8 * i, CALLEE_SAVED[i]!, false);
    s.rsp = rsp + SWITCH_FRAME_BYTES;
    memory.cost = this.#p.costs.contextSwitch;
    current.request = null;
    current.suspended = true;
    delivery.go(target);
  }
}

/** Cache lines that a range touches. */
function linesOf(address: number, bytes: number): number {
  if (bytes <= 0) return 0;
  return Math.floor((address + bytes - 1) / CACHE_LINE) - Math.floor(address / CACHE_LINE) + 1;
}
