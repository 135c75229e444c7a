/** What local APICs ask of the fabric that joins them. */
import type { CauseId, Vector } from "../base/units.ts";
import type { InterruptMessage } from "../ports/message.ts";

export interface ApicBus {
  /** An IPI of local APIC `from` (its index), with an ICR shorthand. Returns how many accepted it. */
  sendIpi(from: number, shorthand: number, message: InterruptMessage): number;
  /** The EOI message to all I/O APICs. */
  broadcastEoi(vector: Vector, cause: CauseId): void;
  /** An id, a mode or an enable bit changed: what the fabric derived from them is stale. */
  membersChanged(): void;
}
