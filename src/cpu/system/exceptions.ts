/**
 * What happens when an event is delivered and its delivery raises another exception: double faults and the triple fault.
 * Intel SDM vol. 3A, 6.15 "Interrupt 8: Double Fault Exception", tables 6-4 and 6-5; debug status: vol. 3B, 18.2.3.
 */
import { ACTIVITY } from "../../ports/processor.ts";
import { EVENT } from "../../ports/events.ts";
import { type CpuContext, EXC, GuestFault } from "../context.ts";
import * as L from "../layout.ts";
import type { Delivery } from "./delivery.ts";
import { KIND } from "./delivery-kind.ts";

/** One exception or interrupt of a chain, with the registers as they stood. */
export class ChainLink {
  vector = 0;
  /** −1: none. */
  error = -1;
  rip = 0;
  rsp = 0;
  cr2 = 0;
  /** One of KIND. */
  kind = 0;
}

/** Longest chain: an interrupt, a benign exception, two that make a double fault, the double fault, what its delivery raised; and room. */
const MAX_LINKS = 8;

/** How an interrupt led to what was delivered at last, or to shutdown. Kept until the next event. */
export class FaultChain {
  readonly #links: readonly ChainLink[] = Array.from({ length: MAX_LINKS }, () => new ChainLink());
  length = 0;

  clear(): void {
    this.length = 0;
  }
  add(vector: number, error: number, kind: number, rip: number, rsp: number, cr2: number): void {
    if (this.length === MAX_LINKS) return;
    const link = this.#links[this.length++]!;
    link.vector = vector;
    link.error = error;
    link.kind = kind;
    link.rip = rip;
    link.rsp = rsp;
    link.cr2 = cr2;
  }
  /** One line for people: vectors, error codes, RIP, RSP and CR2 of each link. */
  describe(): string {
    const hex = (n: number): string => (n < 0 ? BigInt.asUintN(64, BigInt(n)) : BigInt(n)).toString(16);
    const one = (l: ChainLink): string => {
      const error = l.error >= 0 ? ` error ${hex(l.error)}` : "";
      return `vector ${l.vector}${error} at RIP ${hex(l.rip)} RSP ${hex(l.rsp)} CR2 ${hex(l.cr2)}`;
    };
    return this.links().map(one).join(", then ");
  }
  /** The links in order; copies nothing. */
  links(): readonly ChainLink[] {
    return this.#links.slice(0, this.length);
  }
}

const BENIGN = 0;
const CONTRIBUTORY = 1;
const PAGE_FAULT = 2;

/** Class of an exception (SDM vol. 3A, table 6-4). */
function classOf(vector: number, kind: number): number {
  if (kind < KIND.fault) return BENIGN;
  if (vector === EXC.pf || vector === EXC.ve) return PAGE_FAULT;
  const contributory = vector === EXC.de || (vector >= EXC.ts && vector <= EXC.gp) || vector === EXC.cp;
  return contributory ? CONTRIBUTORY : BENIGN;
}

/** Whether two exceptions, the second raised while the first was delivered, make a double fault (SDM vol. 3A, table 6-5). */
export function makesDoubleFault(first: number, firstKind: number, second: number): boolean {
  const before = classOf(first, firstKind);
  const now = classOf(second, KIND.fault);
  if (before === CONTRIBUTORY) return now === CONTRIBUTORY;
  return before === PAGE_FAULT && now !== BENIGN;
}

/** Bits of DR6 that an exception replaces, and DR7.GD, DEBUGCTL.BTF. */
const DR6_HITS = 0xf;
const DR7_GD = 0x2000;
const DEBUGCTL_BTF = 2;

export class Exceptions {
  readonly chain = new FaultChain();
  readonly #ctx: CpuContext;
  readonly #delivery: Delivery;

  constructor(ctx: CpuContext, delivery: Delivery) {
    this.#ctx = ctx;
    this.#delivery = delivery;
  }

  /**
   * Delivers a fault-class exception of the instruction at RIP. `address` goes to CR2 when it is #PF. False: the processor shut down.
   * Debug traps that the instruction had gathered are forgotten: it will run again.
   */
  raise(vector: number, error: number, address: number): boolean {
    const s = this.#ctx.state;
    s.setLo(L.DEBUG_TRAP, 0);
    s.setLo(L.PENDING_OFFSET, s.int(L.PENDING_OFFSET) & ~L.PENDING.debugTrap);
    return this.#take(vector, KIND.fault, error, address);
  }

  /** Delivers the fault that a helper threw. */
  raiseFault(fault: GuestFault): boolean {
    return this.raise(fault.vector, fault.error, fault.address);
  }

  /** Delivers a trap-class exception: RIP is the next instruction. */
  raiseTrap(vector: number, error = -1): boolean {
    return this.#take(vector, KIND.trap, error, 0);
  }

  /**
   * Delivers #DB. `bits` are its conditions in DR6 format.
   * @param faultClass saved RF is 1: general detect. Not for instruction breakpoints, although these are faults.
   */
  raiseDebug(bits: number, faultClass: boolean): boolean {
    const s = this.#ctx.state;
    s.setLo(L.DR6, (s.int(L.DR6) & ~DR6_HITS) | bits);
    s.setLo(L.DR7, s.int(L.DR7) & ~DR7_GD);
    s.setLo(L.MSR.debugCtl, s.int(L.MSR.debugCtl) & ~DEBUGCTL_BTF);
    s.setLo(L.DEBUG_TRAP, 0);
    s.setLo(L.PENDING_OFFSET, s.int(L.PENDING_OFFSET) & ~L.PENDING.debugTrap);
    return this.#take(EXC.db, faultClass ? KIND.fault : KIND.trap, -1, 0);
  }

  /** Delivers a maskable external interrupt that was acknowledged. */
  external(vector: number): boolean {
    return this.#take(vector, KIND.external, -1, 0);
  }

  nmi(): boolean {
    return this.#take(EXC.nmi, KIND.nmi, -1, 0);
  }

  #take(vector: number, kind: number, error: number, address: number): boolean {
    const s = this.#ctx.state;
    this.chain.clear();
    for (;;) {
      if (vector === EXC.pf && kind === KIND.fault) s.setNum(L.CR2, address);
      const rip = s.num(L.RIP);
      this.chain.add(vector, error, kind, rip, s.num(L.GPR + L.REG.rsp * 8), s.num(L.CR2));
      try {
        this.#delivery.deliver(vector, kind, error, rip);
        return true;
      } catch (fault) {
        if (!(fault instanceof GuestFault)) throw fault;
        if (vector === EXC.df && kind === KIND.fault) return this.#shutdown(fault);
        const double = makesDoubleFault(vector, kind, fault.vector);
        if (double) this.#note(fault);
        vector = double ? EXC.df : fault.vector;
        error = double ? 0 : fault.error;
        address = fault.address;
        kind = KIND.fault;
      }
    }
  }

  /** Records an exception that is not delivered itself; of a page fault, CR2 tells all the same. */
  #note(fault: GuestFault): void {
    const s = this.#ctx.state;
    if (fault.vector === EXC.pf) s.setNum(L.CR2, fault.address);
    const rsp = s.num(L.GPR + L.REG.rsp * 8);
    this.chain.add(fault.vector, fault.error, KIND.fault, s.num(L.RIP), rsp, s.num(L.CR2));
  }

  #shutdown(fault: GuestFault): boolean {
    const { state, trace, index } = this.#ctx;
    this.#note(fault);
    state.setLo(L.ACTIVITY_OFFSET, ACTIVITY.shutdown);
    trace.emit(EVENT.shutdown, index, state.num(L.RIP), 0, 0, 0);
    return false;
  }
}
