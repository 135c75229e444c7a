/**
 * What numbers in events are called on this board; given by whoever knows the board.
 */
import type { EventSubject } from "../ports/events.ts";

export interface EventNames {
  /** A line by its number. */
  line(index: number): string;
  /** An I/O APIC input. */
  pin(pin: number): string;
  /** An 8259 input. */
  irq(irq: number): string;
  /** `part.REGISTER` at a physical address, empty when nothing is known. */
  address(address: number): string;
  /** `part.REGISTER` at a port, empty when nothing is known. */
  port(port: number): string;
  /** A bus master by its requester id. */
  device(requester: number): string;
  /** A model-specific register, empty when nothing is known. */
  msr(index: number): string;
}

/** A subject as people write it. */
export function subjectName(names: EventNames, subject: EventSubject, number: number): string {
  switch (subject) {
    case "cpu":
      return `cpu${number}`;
    case "line":
      return `line ${names.line(number)}`;
    case "pin":
      return `ioapic pin ${number} (${names.pin(number)})`;
    case "irq":
      return `8259 irq ${number} (${names.irq(number)})`;
    case "device":
      return names.device(number);
  }
}

/** `00:1f.2`: bus, device, function. */
export function bdfText(requester: number): string {
  const two = (value: number): string => value.toString(16).padStart(2, "0");
  return `${two(requester >>> 8)}:${two((requester >>> 3) & 31)}.${requester & 7}`;
}

/** Entries of the local vector table, as EVENT.lvtFire numbers them. */
export const LVT_NAMES = ["CMCI", "timer", "thermal", "performance", "LINT0", "LINT1", "error"] as const;

/** Exceptions by vector (Intel SDM vol. 3A, table 6-1). */
export const EXCEPTION_NAMES = [
  "#DE divide error",
  "#DB debug",
  "NMI",
  "#BP breakpoint",
  "#OF overflow",
  "#BR bound range",
  "#UD invalid opcode",
  "#NM no math coprocessor",
  "#DF double fault",
  "coprocessor segment overrun",
  "#TS invalid TSS",
  "#NP segment not present",
  "#SS stack segment",
  "#GP general protection",
  "#PF page fault",
  "reserved",
  "#MF x87 error",
  "#AC alignment check",
  "#MC machine check",
  "#XM SIMD error",
  "#VE virtualization",
  "#CP control protection",
] as const;

export const exceptionName = (vector: number): string => EXCEPTION_NAMES[vector] ?? `vector ${vector}`;

/** `0x` and at least two digits; negative numbers are canonical addresses of the upper half. */
export function hexOf(value: number): string {
  return `0x${(value < 0 ? BigInt.asUintN(64, BigInt(value)) : value).toString(16).padStart(2, "0")}`;
}
