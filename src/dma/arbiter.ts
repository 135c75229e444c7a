/**
 * The arbiter of a modelled bus: gives channels and bus masters time in bursts. Sources: interrupts-and-dma.md, "Direct Memory Access Mechanisms"
 * (arbitration); PCI Local Bus Specification 3.0, 3.4 "Arbitration" (fairness is left to the implementer; a burst ends when the latency timer says so).
 *
 * Policies. `fixed`: the lowest priority number first, always. `round-robin`: in turn, a burst each. `weighted`: first whoever has been promised bandwidth
 * and has not had it, then by weight. A promise is kept as credit that grows with time and is spent by bursts; it is bounded, so that silence cannot
 * be saved up. Of the rest everybody gets his weight's part: the next burst goes to whoever has had least in relation to his weight (stride
 * scheduling). A holder that was silent starts level with the others.
 *
 * Not modelled: parking, split transactions, arbitration latency other than `turnaroundNs` per burst.
 */
import { assert } from "../base/assert.ts";
import type { Ns } from "../base/units.ts";
import type { BusShare, BusShares, BusTerms } from "../ports/bus-share.ts";
import type { Part, ResetPhase } from "../ports/part.ts";
import type { Alarm, EventQueue } from "../sim/event-queue.ts";

export const ARBITER_POLICIES = ["fixed", "round-robin", "weighted"] as const;
export type ArbiterPolicy = (typeof ARBITER_POLICIES)[number];

export type ArbiterOptions = {
  readonly queue: EventQueue;
  readonly policy: ArbiterPolicy;
  /** Bytes per second that the bus moves. */
  readonly bandwidth: number;
  /** Time that every burst costs besides its bytes. */
  readonly turnaroundNs?: number;
};

const SECOND = 1_000_000_000;
const DEFAULT_BURST = 64;
/** A promise may lie unused for this many rounds before it grows no further. */
const CREDIT_BURSTS = 4;
/** Resolution of weights: what a byte costs a holder of weight 1. */
const STRIDE = 1 << 16;

export type ShareState = {
  pending: number;
  /** Unspent promise in billionths of a byte. */
  credit: number;
  /** What it has had by weight: bytes × STRIDE / weight. */
  pass: number;
  /** Since reset: bytes and bursts that ended, ns waited for the bus. */
  bytes: number;
  bursts: number;
  waited: number;
  /** When it began to wait. */
  since: Ns;
};

export type ArbiterState = {
  shares: ShareState[];
  /** Whose burst is on the bus, −1 for nobody. */
  holder: number;
  burst: number;
  /** The burst was promised, and is not charged to the holder's part of the rest. */
  promised: boolean;
  /** The holder took its request back meanwhile. */
  cancelled: boolean;
  /** Until when credit has been given. */
  credited: Ns;
  /** Time that is due and has not made a whole ns, in bytes × SECOND modulo the bandwidth. */
  remainder: number;
  /** Round robin: who came last. */
  last: number;
  /** Weighted: what the one who came last by weight had had. Nobody who waits has had less. */
  virtual: number;
};

const freshShare = (): ShareState => ({ pending: 0, credit: 0, pass: 0, bytes: 0, bursts: 0, waited: 0, since: 0 });
const idle = { holder: -1, burst: 0, promised: false, cancelled: false, remainder: 0, last: -1, virtual: 0 };

class Share implements BusShare {
  readonly terms: Required<BusTerms>;
  readonly state = freshShare();
  readonly done: () => void;
  readonly #arbiter: BusArbiter;
  readonly #index: number;

  constructor(arbiter: BusArbiter, index: number, terms: Required<BusTerms>, done: () => void) {
    this.#arbiter = arbiter;
    this.#index = index;
    this.terms = terms;
    this.done = done;
  }

  get pending(): number {
    return this.state.pending;
  }

  /** Bytes of its next burst. */
  get next(): number {
    return Math.min(this.terms.burst, this.state.pending);
  }

  request(bytes: number): void {
    this.#arbiter.request(this.#index, bytes);
  }

  cancel(): void {
    this.#arbiter.cancel(this.#index);
  }
}

export class BusArbiter implements Part, BusShares {
  readonly name: string;
  readonly state: ArbiterState = { shares: [], credited: 0, ...idle };
  readonly #options: ArbiterOptions;
  readonly #shares: Share[] = [];
  readonly #burstEnd: Alarm;
  #promised = 0;
  /** Sum of everybody's longest burst. */
  #allBursts = 0;

  constructor(name: string, options: ArbiterOptions) {
    this.name = name;
    this.#options = options;
    const { bandwidth, queue } = options;
    assert(bandwidth > 0 && Number.isSafeInteger(bandwidth), `${name}: bandwidth ${bandwidth}`);
    this.#burstEnd = queue.alarm(`${name} burst`, () => this.#endBurst());
  }

  share(terms: BusTerms, done: () => void): BusShare {
    const { weight = 1, guaranteed = 0, burst = DEFAULT_BURST, priority = this.#shares.length } = terms;
    const where = `${this.name}: ${terms.name}`;
    assert(weight > 0 && burst >= 1 && Number.isSafeInteger(burst), `${where}: weight ${weight}, burst ${burst}`);
    assert(Number.isSafeInteger(guaranteed) && guaranteed >= 0, `${where}: guarantee ${guaranteed}`);
    this.#promised += guaranteed;
    assert(this.#promised <= this.#options.bandwidth, `${where}: more bandwidth is promised than there is`);
    const share = new Share(this, this.#shares.length, { name: terms.name, weight, guaranteed, burst, priority }, done);
    this.#allBursts += burst;
    this.#shares.push(share);
    this.state.shares.push(share.state);
    return share;
  }

  reset(phase: ResetPhase): void {
    if (phase !== "enter") return;
    for (const { state } of this.#shares) Object.assign(state, freshShare());
    Object.assign(this.state, idle);
    this.state.credited = this.#options.queue.clock.now();
    this.#burstEnd.cancel();
  }

  request(index: number, bytes: number): void {
    const { state } = this.#shares[index]!;
    assert(bytes >= 1 && Number.isSafeInteger(bytes), `${this.name}: ${bytes} bytes`);
    if (state.pending === 0) {
      state.since = this.#options.queue.clock.now();
      state.pass = Math.max(state.pass, this.state.virtual);
    }
    state.pending += bytes;
    if (this.state.holder < 0) this.#grant();
  }

  cancel(index: number): void {
    this.#shares[index]!.state.pending = 0;
    if (this.state.holder === index) this.state.cancelled = true;
  }

  /** The bus is free: the next burst, if anybody waits. */
  #grant(): void {
    this.#addCredit();
    const promised = this.#options.policy === "weighted" ? this.#mostOwed() : -1;
    const holder = promised >= 0 ? promised : this.#choose();
    if (holder < 0) return;
    const share = this.#shares[holder]!;
    const { bandwidth, turnaroundNs = 0, queue } = this.#options;
    const burst = share.next;
    const now = queue.clock.now();
    share.state.waited += now - share.state.since;
    if (promised >= 0) share.state.credit -= burst * SECOND;
    else this.state.virtual = Math.max(this.state.virtual, share.state.pass);
    Object.assign(this.state, { holder, burst, promised: promised >= 0, cancelled: false, last: holder });
    const time = burst * SECOND + this.state.remainder;
    this.state.remainder = time % bandwidth;
    this.#burstEnd.armAt(now + turnaroundNs + (time - this.state.remainder) / bandwidth);
  }

  #addCredit(): void {
    const now = this.#options.queue.clock.now();
    const elapsed = now - this.state.credited;
    this.state.credited = now;
    for (let i = 0; i < this.#shares.length; i++) {
      const { terms, state } = this.#shares[i]!;
      if (terms.guaranteed === 0) continue;
      state.credit = Math.min(state.credit + elapsed * terms.guaranteed, this.#mostCredit(terms));
    }
  }

  /** A few bursts, and what the promise amounts to while everybody else has his longest burst. */
  #mostCredit({ burst, guaranteed }: Required<BusTerms>): number {
    const meanwhile = Math.ceil((this.#allBursts * guaranteed) / this.#options.bandwidth);
    return CREDIT_BURSTS * (burst + meanwhile) * SECOND;
  }

  /** Who has waited longest for a burst that he was promised, −1 for nobody. */
  #mostOwed(): number {
    return this.#best(({ terms, state, next }) =>
      terms.guaranteed > 0 && state.credit >= next * SECOND ? -(state.credit / terms.guaranteed) : Number.NaN,
    );
  }

  #choose(): number {
    const count = this.#shares.length;
    switch (this.#options.policy) {
      case "fixed":
        return this.#best(({ terms }) => terms.priority);
      case "round-robin":
        return this.#best((_, index) => (index - this.state.last - 1 + count) % count);
      case "weighted":
        return this.#best(({ state }) => state.pass);
    }
  }

  /** Of those who wait the one with the least rank, the earlier one of two; NaN is out of the race; −1: nobody. */
  #best(rank: (share: Share, index: number) => number): number {
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < this.#shares.length; i++) {
      const share = this.#shares[i]!;
      if (share.state.pending === 0) continue;
      const value = rank(share, i);
      if (value < least) {
        least = value;
        best = i;
      }
    }
    return best;
  }

  #endBurst(): void {
    const { holder, burst, promised, cancelled } = this.state;
    const { state, terms, done } = this.#shares[holder]!;
    this.state.holder = -1;
    state.bursts++;
    state.bytes += burst;
    state.since = this.#options.queue.clock.now();
    if (!promised) state.pass += Math.floor((burst * STRIDE) / terms.weight);
    if (!cancelled) {
      state.pending -= burst;
      if (state.pending === 0) done();
    }
    // The holder may have asked again in `done`, and been granted already.
    if (this.state.holder < 0) this.#grant();
  }
}
