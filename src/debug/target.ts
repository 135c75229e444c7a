/**
 * A machine as the protocol engine (gdb-stub.ts) sees it. Processors are numbered from 0; addresses are signed numbers (see base/units.ts).
 */
/** Kinds of stops, as the packets Z0 … Z4 number them. */
export const STOP_KIND = { software: 0, hardware: 1, write: 2, read: 3, access: 4 } as const;

/** Signals, as the protocol numbers them (GDB manual, "Stop Reply Packets"; gdb/signals.def). */
export const SIGNAL = { interrupt: 2, trap: 5, segv: 11 } as const;

/** Why the machine stopped. */
export type StopReason = {
  readonly cpu: number;
  /** One of {@link SIGNAL}. */
  readonly signal: number;
  readonly why: "signal" | "swbreak" | "hwbreak" | "watch" | "rwatch" | "awatch";
  /** Of a watch. */
  readonly address: number;
};

/** What a processor does from now on. */
export type Action = "stand" | "step" | "go";

/** Bits of the step flags, as QEMU's `qqemu.sstep` numbers them. */
export const STEP_FLAG = { enable: 1, noIrq: 2, noTimer: 4 } as const;

export interface DebugTarget {
  readonly cpuCount: number;
  /** The processor of the last stop. */
  readonly current: number;
  /** The target description. */
  readonly xml: string;
  /** Bytes of each register, by number. */
  readonly registerSizes: readonly number[];
  /** Bits of {@link STEP_FLAG}. */
  stepFlags: number;
  /** Addresses of memory packets are physical. */
  physical: boolean;
  readRegister(cpu: number, register: number): Uint8Array;
  /** False: refused. Writing what is there already is always possible. */
  writeRegister(cpu: number, register: number, bytes: Uint8Array): boolean;
  /** What can be read without side effects from `address` on, perhaps less than `length`; null for nothing. */
  readMemory(cpu: number, address: number, length: number): Uint8Array | null;
  writeMemory(cpu: number, address: number, bytes: Uint8Array): boolean;
  /** Adds a breakpoint or watchpoint; adding it again does nothing. */
  addStop(kind: number, address: number, length: number): boolean;
  removeStop(kind: number, address: number, length: number): boolean;
  /** Goes on; tells the stub when it stopped. One action per processor. */
  resume(actions: readonly Action[]): void;
  /** Stops a running machine. */
  interrupt(): void;
  threadInfo(cpu: number): string;
  /** Carries out a line of the user and returns what to print. */
  monitor(line: string): string;
  /** The debugger goes: breakpoints away, the machine goes on. */
  detach(): void;
  /** The run is to end. */
  kill(): void;
}
