/**
 * Names for the units and spaces that numbers live in. They are plain numbers: integers below 2^53, exact in a double.
 */

/** Virtual time or a span of it, in nanoseconds (integer). */
export type Ns = number;
/** A physical address in bytes, 0 … 2^52 − 1. */
export type PhysAddr = number;
/** A canonical linear address in bytes as a *signed* number, −2^47 … 2^47 − 1. */
export type LinAddr = number;
/** An interrupt vector, 0 … 255. */
export type Vector = number;
/** A local APIC id (8 bits in xAPIC mode, 32 bits in x2APIC mode). */
export type ApicId = number;
/** Bus, device, function of a requester, 16 bits: bus[15:8] device[7:3] function[2:0]. */
export type Bdf = number;
/** Id of the event that caused this one, 0 when unknown. Observation only: never part of machine state. */
export type CauseId = number;

export const KIB = 1024;
export const MIB = 1024 * 1024;
export const GIB = 1024 * 1024 * 1024;
export const PAGE = 4096;
