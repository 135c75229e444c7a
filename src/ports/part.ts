/**
 * The contract of every part of the machine.
 */
import type { StateRecord } from "../sim/state.ts";

/**
 * Reset has three phases, run over all parts one phase after the other: `enter` sets a part's own state and touches nobody, `hold` drives its outputs to
 * their reset levels, `exit` lets go (first alarms armed, processors start).
 */
export type ResetPhase = "enter" | "hold" | "exit";
/** `power`: cold start. `system`: platform reset (0xCF9, keyboard controller, triple fault), which a battery-backed part survives. */
export type ResetKind = "power" | "system";

export interface Part {
  /** Unique in the machine; names its state in a snapshot. */
  readonly name: string;
  /** Everything that changes, in one plain record. */
  readonly state: StateRecord;
  reset(phase: ResetPhase, kind: ResetKind): void;
  /** After `state` was loaded: rebuild what is derived. Must not make an edge, a message or an event. */
  restored?(): void;
  /**
   * Contents of caches that are no state of the architecture, but that a guest can see when it breaks a rule (a stale TLB entry). Saved with a snapshot,
   * so that a loaded machine goes on exactly like the one that was saved; not part of the hash.
   */
  saveCaches?(): StateRecord;
  /** Called after {@link restored}. */
  loadCaches?(saved: StateRecord): void;
}
