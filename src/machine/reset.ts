/**
 * Reset of the whole board in three phases over all parts, and what a PC's firmware would have left behind when it hands over to an operating system.
 */
import type { LocalApicPort } from "../ports/cpu-port.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";
import type { MemoryFacts } from "../firmware/boot-plan.ts";
import { KIB, MIB } from "../base/units.ts";

const PHASES: readonly ResetPhase[] = ["enter", "hold", "exit"];

/** Every part goes through one phase before any goes through the next. */
export function resetParts(parts: readonly Part[], kind: ResetKind): void {
  for (const phase of PHASES) for (const part of parts) part.reset(phase, kind);
}

/** Offsets of the local APIC's registers (Intel SDM vol. 3A, table "Local APIC Register Address Map"). */
const LAPIC = { svr: 0xf0, lint0: 0x350, lint1: 0x360 } as const;

/** Virtual-wire mode through the bootstrap processor's LINT0, NMI on LINT1 (MultiProcessor Specification 1.4, 3.6.2.2 and 3.7). */
export function enterVirtualWire(apic: LocalApicPort): void {
  apic.write(LAPIC.svr, 4, 0x1ff);
  apic.write(LAPIC.lint0, 4, 0x8700);
  apic.write(LAPIC.lint1, 4, 0x8400);
}

/** The 8259 pair as a BIOS sets it up: vectors 0x08 and 0x70, everything masked but the cascade. */
export function initialisePics(master: Window, slave: Window): void {
  const setUp = (chip: Window, vector: number, wiring: number, mask: number): void => {
    chip.write(0, 1, 0x11);
    chip.write(1, 1, vector);
    chip.write(1, 1, wiring);
    chip.write(1, 1, 0x01);
    chip.write(1, 1, mask);
  };
  setUp(master, 0x08, 0x04, 0xfb);
  setUp(slave, 0x70, 0x02, 0xff);
}

/** CMOS bytes that tell the memory size: KiB below 640K, KiB above 1 MiB (twice), 64-KiB units above 16 MiB and above 4 GiB. */
export function cmosMemory(facts: MemoryFacts): [number, number][] {
  const extended = Math.min(65535, (facts.lowBytes - MIB) / KIB);
  const above16 = Math.min(65535, Math.max(0, facts.lowBytes - 16 * MIB) / (64 * KIB));
  const high = facts.highBytes / (64 * KIB);
  return [
    [0x15, 640 & 0xff],
    [0x16, 640 >> 8],
    [0x17, extended & 0xff],
    [0x18, (extended >> 8) & 0xff],
    [0x30, extended & 0xff],
    [0x31, (extended >> 8) & 0xff],
    [0x34, above16 & 0xff],
    [0x35, (above16 >> 8) & 0xff],
    [0x5b, high & 0xff],
    [0x5c, (high >> 8) & 0xff],
    [0x5d, (high >> 16) & 0xff],
  ];
}
