/**
 * What a PCI function needs of the board, without knowing it: places for its BARs, and a bus master's way to memory.
 */
import type { Bdf, CauseId, PhysAddr } from "../base/units.ts";
import type { Trace } from "../sim/trace.ts";
import type { BusStatus, Initiator } from "./initiator.ts";
import type { Window } from "./window.ts";

/** One window's place in an address space; it may move and vanish as often as the guest likes. */
export interface Placement {
  /** The window answers at `base` from now on. */
  place(base: number): void;
  /** It answers nowhere. */
  remove(): void;
}

/**
 * Memory or port addresses as seen by BARs. A BAR may be put upon anything: what the board itself has there goes first, then the BAR that was claimed
 * first.
 */
export interface BarSpace {
  /** To be called once per window, when the machine is built. */
  claim(window: Window): Placement;
}

/** Which sides of a copy are not snooped. */
export const NO_SNOOP = { source: 1, target: 2 } as const;

/** An {@link Initiator} whose requester id follows the bus number that the guest gives to the bus. */
export interface MasterPort extends Initiator {
  requester: Bdf;
  /** Cause that the next access carries, be it data or a message. */
  cause: CauseId;
  /** The following accesses do not look into the processors' caches (the No Snoop attribute). */
  noSnoop: boolean;
  /**
   * Memory to memory: a read and then a write of `length` bytes, as one move where both lie in RAM; behind remapping hardware run by run, so that a failure
   * leaves what lies before it moved. @param noSnoop bits of {@link NO_SNOOP}
   */
  copy(source: PhysAddr, target: PhysAddr, length: number, noSnoop: number): BusStatus;
  /** Of a {@link copy} that failed: reading failed, not writing. */
  readonly copyFailedReading: boolean;
  /** Where a device tells of doorbells, descriptors and completions, with its requester id as the subject. */
  readonly trace: Trace;
}
