/**
 * A share of the modelled bus, as a channel or bus master holds it: it asks for time for so many bytes, and is told when these have had it. Who has no
 * share (a machine without a modelled bus) moves its bytes at its own pace.
 */
export interface BusShare {
  /** Bytes that were asked for and have not had their time. */
  readonly pending: number;
  /** Asks for time for `bytes` (≥ 1) more. The holder's callback is called when the last of them has had it. */
  request(bytes: number): void;
  /** Takes back what has not been granted; the burst that is on the bus goes to its end, unheard. */
  cancel(): void;
}

/** What a holder is promised. What a policy does not use, it ignores. */
export type BusTerms = {
  readonly name: string;
  /** Fixed policy: lower goes first. */
  readonly priority?: number;
  /** Weighted policy: its part of the bandwidth that is not promised to anybody, in relation to the weights of the others; 1 when left out. */
  readonly weight?: number;
  /** Weighted policy: bytes per second that it gets whenever it asks for them. */
  readonly guaranteed?: number;
  /** Longest burst in bytes that it may hold the bus for; 64 when left out. */
  readonly burst?: number;
};

/** How a device gets its share: whoever made the board knows its terms. @param channel null when the device has only one share */
export type JoinBus = (channel: number | null, done: () => void) => BusShare;

/** Where shares come from. */
export interface BusShares {
  /** @param done called when all that was asked for has had its time */
  share(terms: BusTerms, done: () => void): BusShare;
}
