/**
 * What the parts of one processor share: its registers, its way out, its model, and the fault that is being raised. Also the contract between generated
 * code and the TypeScript helpers that carry out rare and heavy instructions.
 */
import type { CpuBus } from "../ports/cpu-bus.ts";
import type { LocalApicPort } from "../ports/cpu-port.ts";
import type { RamView } from "../ports/ram-view.ts";
import type { Clock } from "../sim/clock.ts";
import type { Trace } from "../sim/trace.ts";
import * as L from "./layout.ts";
import type { CpuModel } from "./model.ts";
import type { CpuState } from "./state.ts";

/** Exception vectors (Intel SDM vol. 3A, table 6-1). */
export const EXC = {
  de: 0,
  db: 1,
  nmi: 2,
  bp: 3,
  of: 4,
  br: 5,
  ud: 6,
  nm: 7,
  df: 8,
  ts: 10,
  np: 11,
  ss: 12,
  gp: 13,
  pf: 14,
  mf: 16,
  ac: 17,
  mc: 18,
  xm: 19,
  ve: 20,
  cp: 21,
} as const;

/**
 * Thrown by helpers to raise an exception of the guest. Not an Error: it carries no stack and costs little. `error` is −1 when the vector has no error
 * code. For #PF, CR2 was not written yet: `address` holds it.
 */
export class GuestFault {
  vector = 0;
  error = -1;
  /** Faulting linear address of a #PF, signed number. */
  address = 0;
}

const thrown = new GuestFault();

/** Raises exception `vector` with an error code (−1: none). Never returns. */
export function raise(vector: number, error = -1): never {
  thrown.vector = vector;
  thrown.error = error;
  throw thrown;
}

/** Raises #PF for linear address `address`. */
export function raisePageFault(error: number, address: number): never {
  thrown.address = address;
  raise(EXC.pf, error);
}

/** What a helper tells generated code. */
export const DONE = {
  /** Go on with the next instruction in sequence; RIP was not written. */
  next: 0,
  /** The instruction retired and wrote RIP, or changed something that decoding, translation or interrupts depend on: look again. */
  changed: 1,
} as const;

/**
 * Carries out one instruction. On entry RIP is the instruction's address; the operand's effective address (when it has a memory operand) is at
 * SLOW_ADDRESS. Reads its operands through the record (see layout REC). Throws {@link GuestFault} to raise an exception: then nothing may have changed.
 * With DONE.changed it has written RIP itself, unless it calls `ctx.advance(record)`.
 */
export type Helper = (record: number) => number;
export type HelperTable = { readonly [name: string]: Helper };

/** The pieces that belong to one processor. */
export class CpuContext {
  readonly index: number;
  readonly state: CpuState;
  readonly bus: CpuBus;
  readonly ram: RamView;
  readonly apic: LocalApicPort;
  readonly model: CpuModel;
  readonly clock: Clock;
  readonly trace: Trace;
  /** Delivery in generated code, for the simple cases of 64-bit mode: returns 0 when it did nothing. The return address is at ARG0. */
  deliver: (vector: number, checkDpl: number, error: number, image: number) => number = () => 0;
  /** Names of instructions that were met and are not built, with their counts. */
  readonly notBuilt = new Map<string, number>();

  constructor(parts: Pick<CpuContext, "index" | "state" | "bus" | "ram" | "apic" | "model" | "clock" | "trace">) {
    this.index = parts.index;
    this.state = parts.state;
    this.bus = parts.bus;
    this.ram = parts.ram;
    this.apic = parts.apic;
    this.model = parts.model;
    this.clock = parts.clock;
    this.trace = parts.trace;
  }

  /** Ends the present run after this instruction, so that interrupts and deadlines are looked at again. */
  stop(): void {
    const s = this.state;
    const count = s.int(L.COUNT);
    if (count > 0) {
      s.setLo(L.DEBT, s.int(L.DEBT) + count);
      s.setLo(L.COUNT, 0);
    }
  }

  /** Sets bits of PENDING and makes the processor look at the next boundary. */
  post(bits: number): void {
    this.state.setLo(L.PENDING_OFFSET, this.state.int(L.PENDING_OFFSET) | bits);
    this.stop();
  }

  /** Address of the instruction after the one in `record`, a signed number, wrapped to the code mode. */
  nextRip(record: number): number {
    const s = this.state;
    const rip = s.num(L.RIP) + s.u8[record + L.REC.length]!;
    const mode = s.codeMode;
    return mode === 2 ? rip : mode === 1 ? rip >>> 0 : rip & 0xffff;
  }

  /** Moves RIP behind the instruction in `record`. */
  advance(record: number): void {
    this.state.setNum(L.RIP, this.nextRip(record));
  }
}
