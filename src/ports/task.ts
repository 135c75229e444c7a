/**
 * What a task on a scripted core says to its processor. A task is a generator; every operation is `yield*` of a {@link Request}, which is an
 * instruction, or a run of them, in the words of this file. The processor carries it out and gives back a number. Between a kernel (kernel/) and a
 * processor (cpu/scripted/), which do not know each other.
 *
 * A request is its own iterator and its own iteration result, so that an operation costs one small object. It may be yielded once.
 *
 * Numbers. Addresses are signed integers below 2^53 (a canonical linear address). Values of 8 bytes are integers from 0 to 2^53 − 1, or a
 * {@link Request} that reads them refuses: larger ones are moved as two words. Spans of time are nanoseconds.
 */
import type { Ns } from "../base/units.ts";
import type { PageMap } from "./page-map.ts";

/** Operations. */
export const OP = {
  compute: 0,
  load: 1,
  store: 2,
  portIn: 3,
  portOut: 4,
  cli: 5,
  sti: 6,
  halt: 7,
  pause: 8,
  fence: 9,
  cache: 10,
  int: 11,
  breakpoint: 12,
  undefined: 13,
  divide: 14,
  loadIdt: 15,
  loadTask: 16,
  getRegister: 17,
  setRegister: 18,
  getSpecial: 19,
  setSpecial: 20,
  push: 21,
  pop: 22,
  pushAll: 23,
  popAll: 24,
  switchTo: 25,
  setPageMap: 26,
  invalidatePage: 27,
  readMsr: 28,
  writeMsr: 29,
  interruptReturn: 30,
  clock: 31,
  exchange: 32,
  touch: 33,
} as const;

/** Kinds of fences. */
export const FENCE = { full: 0, load: 1, store: 2 } as const;
/**
 * Kinds of cache operations: CLFLUSH (writes back and drops), CLWB; WBINVD and INVD for all lines. No x86 instruction drops one line without writing it
 * back: whoever wants to see what a device wrote must not have dirty lines there.
 */
export const CACHE_OP = { flush: 0, writeBack: 1, writeBackAndInvalidateAll: 2, invalidateAll: 3 } as const;

/** General registers, in the order of their encoding (Intel SDM vol. 2, table 2-2). */
export const GPR = {
  rax: 0,
  rcx: 1,
  rdx: 2,
  rbx: 3,
  rsp: 4,
  rbp: 5,
  rsi: 6,
  rdi: 7,
  r8: 8,
  r9: 9,
  r10: 10,
  r11: 11,
  r12: 12,
  r13: 13,
  r14: 14,
  r15: 15,
} as const;
/** Registers of {@link readSpecial}. Writable: flags, cr2, cr8, dr0 … dr7 and the data segments. */
export const SPECIAL = {
  flags: 0,
  cr0: 1,
  cr2: 2,
  cr3: 3,
  cr4: 4,
  cr8: 5,
  cpu: 6,
  cpl: 7,
  cs: 8,
  ss: 9,
  ds: 10,
  es: 11,
  fs: 12,
  gs: 13,
  tr: 14,
  ldtr: 15,
  dr0: 16,
  dr7: 23,
  /** IDTR's base, TSS's base. */
  idt: 24,
  task: 25,
} as const;

/** Selectors of the flat segments that a scripted core has instead of a descriptor table. */
export const SELECTOR = { kernelCode: 0x08, kernelData: 0x10, userData: 0x1b, userCode: 0x23, task: 0x28 } as const;

/** Bytes that {@link pushAll} takes: all general registers but RSP. */
export const PUSH_ALL_BYTES = 15 * 8;

/** The end of every request. Its consumer (`yield*`) reads it at once. */
const finished: { done: true; value: number } = { done: true, value: 0 };

/** One operation. Made by the functions below. */
export class Request implements IterableIterator<Request, number, number> {
  readonly op: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly map: PageMap | null;
  /** As an iteration result: it is not over, and the value is the request. */
  readonly done = false;
  readonly value: Request = this;

  constructor(op: number, a = 0, b = 0, c = 0, map: PageMap | null = null) {
    this.op = op;
    this.a = a;
    this.b = b;
    this.c = c;
    this.map = map;
  }

  [Symbol.iterator](): this {
    return this;
  }

  /** First without an answer, then with the processor's. */
  next(answer?: number): IteratorResult<Request, number> {
    if (answer === undefined) return this as IteratorYieldResult<Request>;
    finished.value = answer;
    return finished;
  }
}

/** A piece of program: what `yield*` of it gives is `T`. */
export type Task<T = void> = Generator<Request, T, number>;
/** Where a handler, a task or a start-up begins: called once per activation. */
export type Routine = () => Task<void>;

/** Code of a machine's scripted cores: gives routines addresses, as IDT gates and saved frames name them. */
export interface CodeSpace {
  /** Address of the routine; the same for the same function. `name` is for reports. */
  place(routine: Routine, name?: string): number;
  /** Name of the routine at an address, or of the task that an address will go on with. */
  nameAt(address: number): string;
}

/** Nanoseconds that a scripted core charges. Every operation lasts at least 1 ns. */
export type CostTable = {
  readonly name: string;
  /** One line: what kind of machine, and where the figures are from. */
  readonly about: string;
  /** From the boundary at which an interrupt or exception is taken to its handler's first operation. */
  readonly interruptEntry: Ns;
  readonly interruptExit: Ns;
  readonly load: Ns;
  readonly store: Ns;
  /** Each line of a {@link touch}. */
  readonly cacheMiss: Ns;
  readonly mmioRead: Ns;
  readonly mmioWrite: Ns;
  readonly portRead: Ns;
  readonly portWrite: Ns;
  /** A change of stacks by {@link switchTo}. */
  readonly contextSwitch: Ns;
  /** RDMSR, WRMSR and what is like them: an EOI in x2APIC mode, CR8. */
  readonly msr: Ns;
  readonly fence: Ns;
  /** One cache line flushed, written back or dropped. */
  readonly cacheLine: Ns;
  /** One page dropped from a TLB. */
  readonly invalidatePage: Ns;
  /** One command to remapping hardware, until it is done; charged by the kernel's DMA code. */
  readonly invalidateIotlb: Ns;
};

// --- running ----------------------------------------------------------------------------------------------------------------------------------------

/** Works for `ns`. Interrupts suspend it at any nanosecond. */
export const compute = (ns: Ns): Request => new Request(OP.compute, ns);
/** PAUSE. */
export const pause = (): Request => new Request(OP.pause);
/** HLT: waits for an interrupt. Privileged. */
export const halt = (): Request => new Request(OP.halt);
/** CLI. Privileged. */
export const cli = (): Request => new Request(OP.cli);
/** STI: interrupts are taken from behind the next operation on. Privileged. */
export const sti = (): Request => new Request(OP.sti);
/** RDTSC: nanoseconds since the machine was switched on. */
export const readClock = (): Request => new Request(OP.clock);

// --- memory -----------------------------------------------------------------------------------------------------------------------------------------

/** Loads 1, 2, 4 or 8 bytes, unsigned. */
export const load = (address: number, width: 1 | 2 | 4 | 8): Request => new Request(OP.load, address, width);
export const store = (address: number, width: 1 | 2 | 4 | 8, value: number): Request =>
  new Request(OP.store, address, width, value);
export const load8 = (address: number): Request => new Request(OP.load, address, 1);
export const load16 = (address: number): Request => new Request(OP.load, address, 2);
export const load32 = (address: number): Request => new Request(OP.load, address, 4);
export const load64 = (address: number): Request => new Request(OP.load, address, 8);
export const store8 = (address: number, value: number): Request => new Request(OP.store, address, 1, value);
export const store16 = (address: number, value: number): Request => new Request(OP.store, address, 2, value);
export const store32 = (address: number, value: number): Request => new Request(OP.store, address, 4, value);
export const store64 = (address: number, value: number): Request => new Request(OP.store, address, 8, value);
/** XCHG with 32 bits of memory, which locks the bus: gives the old value. */
export const exchange32 = (address: number, value: number): Request => new Request(OP.exchange, address, value);
/** MFENCE, LFENCE or SFENCE; one of {@link FENCE}. */
export const fence = (kind: number = FENCE.full): Request => new Request(OP.fence, kind);
/** Works through data that no cache holds: takes the time of a miss for each line of the range. */
export const touch = (address: number, bytes: number): Request => new Request(OP.touch, address, bytes);
/** One of {@link CACHE_OP} on all lines of a range, on a board with caches; on one without, it costs the same and does nothing. */
export const cacheOperation = (operation: number, address: number, bytes: number): Request =>
  new Request(OP.cache, operation, address, bytes);
/** Another map of linear addresses from here on, as MOV to CR3. Privileged. */
export const setPageMap = (map: PageMap): Request => new Request(OP.setPageMap, 0, 0, 0, map);
/** INVLPG. Privileged. The core keeps no stale translations: this costs time only. */
export const invalidatePage = (address: number): Request => new Request(OP.invalidatePage, address);

// --- ports and MSRs ---------------------------------------------------------------------------------------------------------------------------------

export const portIn = (port: number, width: 1 | 2 | 4): Request => new Request(OP.portIn, port, width);
export const portOut = (port: number, width: 1 | 2 | 4, value: number): Request =>
  new Request(OP.portOut, port, width, value);
export const in8 = (port: number): Request => new Request(OP.portIn, port, 1);
export const out8 = (port: number, value: number): Request => new Request(OP.portOut, port, 1, value);
export const in32 = (port: number): Request => new Request(OP.portIn, port, 4);
export const out32 = (port: number, value: number): Request => new Request(OP.portOut, port, 4, value);
/** RDMSR of the local APIC's MSRs; 64 bits as a number. Others raise #GP. Privileged. */
export const readMsr = (index: number): Request => new Request(OP.readMsr, index);
export const writeMsr = (index: number, low: number, high = 0): Request => new Request(OP.writeMsr, index, low, high);

// --- exceptions and interrupts ----------------------------------------------------------------------------------------------------------------------

/** INT n. */
export const int = (vector: number): Request => new Request(OP.int, vector);
/** INT3. */
export const breakpoint = (): Request => new Request(OP.breakpoint);
/** UD2. */
export const undefinedInstruction = (): Request => new Request(OP.undefined);
/** DIV: the quotient of two numbers below 2^53; #DE when the divisor is 0. */
export const divide = (dividend: number, divisor: number): Request => new Request(OP.divide, dividend, divisor);
/** LIDT. `limit` as in the register: bytes − 1. Privileged. */
export const loadIdt = (base: number, limit: number): Request => new Request(OP.loadIdt, base, limit);
/** LTR, straight from the address of a 64-bit TSS. Privileged. */
export const loadTask = (base: number, limit = 0x67): Request => new Request(OP.loadTask, base, limit);
/** IRETQ from the frame at RSP, which need not be this routine's own: does not come back. Implicit at the end of a handler. */
export const interruptReturn = (): Request => new Request(OP.interruptReturn);

// --- registers and stacks ---------------------------------------------------------------------------------------------------------------------------

/** One of {@link GPR}, as an integer below 2^53. */
export const readRegister = (register: number): Request => new Request(OP.getRegister, register);
/** `low` and `high` are the two words of the value; a `low` above 32 bits is split when `high` is left out. */
export const writeRegister = (register: number, low: number, high = -1): Request =>
  new Request(OP.setRegister, register, low, high);
/** One of {@link SPECIAL}. Control and debug registers are privileged. */
export const readSpecial = (register: number): Request => new Request(OP.getSpecial, register);
export const writeSpecial = (register: number, value: number): Request => new Request(OP.setSpecial, register, value);
/** Number of this CPU. */
export const thisCpu = (): Request => new Request(OP.getSpecial, SPECIAL.cpu);
/** Pushes 8 bytes. */
export const push = (value: number): Request => new Request(OP.push, value);
export const pop = (): Request => new Request(OP.pop);
/** Takes `bytes` of stack, or gives them back when negative: SUB RSP. Touches nothing. */
export const reserve = (bytes: number): Request => new Request(OP.push, bytes, 1);
/** Pushes all general registers but RSP, RAX first: R15 then lies at RSP. */
export const pushAll = (): Request => new Request(OP.pushAll);
export const popAll = (): Request => new Request(OP.popAll);
/**
 * Leaves this stack for another: pushes the address at which this task goes on and the callee-saved registers (RBX, RBP, R12 to R15), stores RSP at
 * `saveAt`, takes RSP from `rsp`, pops the same and goes on at the address that lies there. Gives 0 when somebody switches back.
 */
export const switchTo = (saveAt: number, rsp: number): Request => new Request(OP.switchTo, saveAt, rsp);
/** Bytes that {@link switchTo} leaves on the stack: six registers below the address to go on at. */
export const SWITCH_FRAME_BYTES = 7 * 8;
