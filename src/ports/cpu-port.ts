/**
 * Between a CPU (x86 or scripted) and what interrupts it. The CPU never imports a controller, a controller never imports the CPU.
 */
import type { ApicId, CauseId, Ns, Vector } from "../base/units.ts";

/** What a local APIC drives on its CPU. All of these may be called in the middle of an instruction of that CPU; they take effect at its end. */
export interface CpuSignals {
  /** INTR: a maskable interrupt is (not) waiting to be acknowledged. */
  intr(level: boolean): void;
  /** An edge on NMI. */
  nmi(cause: CauseId): void;
  smi(cause: CauseId): void;
  init(cause: CauseId): void;
  /** Start-up IPI: ignored unless the CPU waits for one. */
  startup(vector: Vector, cause: CauseId): void;
}

/** What a CPU asks of its interrupt controller. */
export interface InterruptPort {
  /** The acknowledge cycle: only now is the vector decided (and IRR moves to ISR). May be a spurious vector. */
  acknowledge(): Vector;
  /** Facts about the last acknowledge, for the trace. */
  readonly lastExtInt: boolean;
  readonly lastSpurious: boolean;
  readonly lastCause: CauseId;
}

/** The whole local APIC as its CPU sees it. */
export interface LocalApicPort extends InterruptPort {
  /** Physical page number (address >>> 12) of the register page of this APIC, or −1 while it does not decode (disabled or x2APIC). */
  readonly mmioPage: number;
  /** 32-bit register access at an offset inside the 4 KiB page. `size` may be 1, 2 or 4. */
  read(offset: number, size: number): number;
  write(offset: number, size: number, value: number): void;
  /** CR8: TPR bits 7:4. */
  readCr8(): number;
  writeCr8(value: number): void;
  /** IA32_APIC_BASE (0x1B), IA32_TSC_DEADLINE (0x6E0), x2APIC 0x800-0x8FF. False: #GP. The value is left in msrLow/msrHigh (unsigned). */
  readMsr(index: number): boolean;
  writeMsr(index: number, low: number, high: number): boolean;
  readonly msrLow: number;
  readonly msrHigh: number;
  readonly apicId: ApicId;
  /** CPU state of the APIC enable bit, for CPUID.1:EDX[9]. */
  readonly globallyEnabled: boolean;
  /** True while the CPU is the bootstrap processor (IA32_APIC_BASE bit 8). */
  readonly bsp: boolean;
  /** The CPU's state changed such that INIT (not power-on) resets the APIC. */
  initReset(): void;
}

/** The CPU's time-stamp counter, for TSC-deadline mode. */
export interface TimestampCounter {
  /** Nanoseconds until the TSC reaches the 64-bit value; ≤ 0 when it has. */
  nsUntil(low: number, high: number): Ns;
}

/** The acknowledge side of the 8259 pair. */
export interface IntAck {
  /** Two INTA pulses: returns the vector. */
  acknowledge(): Vector;
  readonly lastSpurious: boolean;
  readonly lastCause: CauseId;
}
