/**
 * Registers of the local APIC, xAPIC and x2APIC. Document: Intel SDM vol. 3A, chapter "Advanced Programmable Interrupt Controller (APIC)": table
 * "Local APIC Register Address Map", figures of each register, section "Extended XAPIC (x2APIC)", table "Local APIC Register Address Map Supported by
 * x2APIC".
 */
import { layout } from "../base/layout.ts";

/** Register numbers: offset / 16 in the xAPIC page, MSR − 0x800 in x2APIC mode. */
export const LAPIC_REG = {
  ID: 0x02,
  VERSION: 0x03,
  TPR: 0x08,
  APR: 0x09,
  PPR: 0x0a,
  EOI: 0x0b,
  RRD: 0x0c,
  LDR: 0x0d,
  DFR: 0x0e,
  SVR: 0x0f,
  ISR: 0x10,
  TMR: 0x18,
  IRR: 0x20,
  ESR: 0x28,
  LVT_CMCI: 0x2f,
  ICR: 0x30,
  ICR_HIGH: 0x31,
  LVT_TIMER: 0x32,
  LVT_THERMAL: 0x33,
  LVT_PERF: 0x34,
  LVT_LINT0: 0x35,
  LVT_LINT1: 0x36,
  LVT_ERROR: 0x37,
  INITIAL_COUNT: 0x38,
  CURRENT_COUNT: 0x39,
  DIVIDE: 0x3e,
  SELF_IPI: 0x3f,
} as const;

/** Index of an entry of the local vector table, as in trace events. */
export const LVT = { cmci: 0, timer: 1, thermal: 2, perf: 3, lint0: 4, lint1: 5, error: 6 } as const;
export const LVT_COUNT = 7;

export const SVR = layout("SVR", 32, { vector: [7, 0], enable: 8, focusDisable: 9, suppressEoiBroadcast: 12 });
export const VERSION = layout("version", 32, { version: [7, 0], maxLvt: [23, 16], eoiBroadcastSuppression: 24 });
export const ICR = layout("ICR", 64, {
  vector: [7, 0],
  deliveryMode: [10, 8],
  destinationMode: 11,
  deliveryStatus: 12,
  level: 14,
  trigger: 15,
  shorthand: [19, 18],
  /** xAPIC; in x2APIC mode all of the upper word. */
  destination: [63, 56],
});
/** All fields that any entry has. */
export const LVT_ENTRY = layout("LVT entry", 32, {
  vector: [7, 0],
  deliveryMode: [10, 8],
  deliveryStatus: 12,
  polarity: 13,
  remoteIrr: 14,
  trigger: 15,
  mask: 16,
  timerMode: [18, 17],
});
export const TIMER_MODE = { oneShot: 0, periodic: 1, tscDeadline: 2, reserved: 3 } as const;
export const ESR = layout("ESR", 32, {
  sendChecksum: 0,
  receiveChecksum: 1,
  sendAccept: 2,
  receiveAccept: 3,
  redirectableIpi: 4,
  sendIllegalVector: 5,
  receiveIllegalVector: 6,
  illegalRegister: 7,
});
export const APIC_BASE = layout("IA32_APIC_BASE", 64, {
  bsp: 8,
  extd: 10,
  enable: 11,
  base: [31, 12],
  baseHigh: [51, 32],
});

/** 0x14, entries 0 to 6, EOI broadcast suppression supported. */
export const LAPIC_VERSION = 0x0106_0014;
/** IA32_APIC_BASE[31:0] after power-up, without the BSP flag: page 0xFEE00, enabled. */
export const APIC_BASE_RESET = 0xfee0_0800;
export const MSR_APIC_BASE = 0x1b;
export const MSR_TSC_DEADLINE = 0x6e0;
export const MSR_X2APIC = 0x800;

/** Writable bits of the LVT entries, by index. */
export const LVT_WRITABLE: readonly number[] = [
  0x0001_07ff, 0x0007_00ff, 0x0001_07ff, 0x0001_07ff, 0x0001_a7ff, 0x0001_a7ff, 0x0001_00ff,
];
/** Read-only bits of the LVT entries, by index: delivery status; on LINT pins also remote IRR. */
export const LVT_READ_ONLY: readonly number[] = [0x1000, 0x1000, 0x1000, 0x1000, 0x5000, 0x5000, 0x1000];

/** Bits of {@link LAPIC_ACCESS}. */
export const ACCESS = { xapic: 1, x2apicRead: 2, x2apicWrite: 4 } as const;
/** What exists where, by register number (0 … 0x3F). */
export const LAPIC_ACCESS = new Uint8Array(64);
/** In x2APIC mode: bits whose setting by WRMSR raises #GP, by register number. */
export const X2APIC_RESERVED = new Uint32Array(64);
const NAMES: string[] = [];

function declare(reg: number, name: string, access: number, x2apicWritable = 0): void {
  LAPIC_ACCESS[reg] = access;
  X2APIC_RESERVED[reg] = ~x2apicWritable;
  NAMES[reg] = name;
}

const { xapic: X, x2apicRead: R, x2apicWrite: W } = ACCESS;
declare(LAPIC_REG.ID, "ID", X | R);
declare(LAPIC_REG.VERSION, "version", X | R);
declare(LAPIC_REG.TPR, "TPR", X | R | W, 0xff);
declare(LAPIC_REG.APR, "APR", X);
declare(LAPIC_REG.PPR, "PPR", X | R);
declare(LAPIC_REG.EOI, "EOI", X | W, 0);
declare(LAPIC_REG.RRD, "RRD", X);
declare(LAPIC_REG.LDR, "LDR", X | R);
declare(LAPIC_REG.DFR, "DFR", X);
declare(LAPIC_REG.SVR, "SVR", X | R | W, 0x13ff);
for (let i = 0; i < 8; i++) {
  declare(LAPIC_REG.ISR + i, `ISR${i}`, X | R);
  declare(LAPIC_REG.TMR + i, `TMR${i}`, X | R);
  declare(LAPIC_REG.IRR + i, `IRR${i}`, X | R);
}
declare(LAPIC_REG.ESR, "ESR", X | R | W, 0);
declare(LAPIC_REG.ICR, "ICR", X | R | W, 0x000c_cfff);
declare(LAPIC_REG.ICR_HIGH, "ICR high", X);
[
  [LAPIC_REG.LVT_CMCI, "LVT CMCI", LVT.cmci] as const,
  [LAPIC_REG.LVT_TIMER, "LVT timer", LVT.timer] as const,
  [LAPIC_REG.LVT_THERMAL, "LVT thermal", LVT.thermal] as const,
  [LAPIC_REG.LVT_PERF, "LVT perf", LVT.perf] as const,
  [LAPIC_REG.LVT_LINT0, "LVT LINT0", LVT.lint0] as const,
  [LAPIC_REG.LVT_LINT1, "LVT LINT1", LVT.lint1] as const,
  [LAPIC_REG.LVT_ERROR, "LVT error", LVT.error] as const,
].forEach(([reg, name, index]) => {
  declare(reg, name, X | R | W, LVT_WRITABLE[index]! | LVT_READ_ONLY[index]!);
});
declare(LAPIC_REG.INITIAL_COUNT, "initial count", X | R | W, 0xffff_ffff);
declare(LAPIC_REG.CURRENT_COUNT, "current count", X | R);
declare(LAPIC_REG.DIVIDE, "divide configuration", X | R | W, 0xb);
declare(LAPIC_REG.SELF_IPI, "self IPI", W, 0xff);

/** Name of the register at an offset of the xAPIC page. */
export const lapicRegisterName = (offset: number): string => NAMES[offset >>> 4] ?? "reserved";
