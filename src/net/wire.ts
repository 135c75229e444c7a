/**
 * A full-duplex Ethernet wire between two stations: each direction has a bandwidth, a latency and a bounded queue in front of it. What is on its way is state.
 * IEEE Std 802.3-2018, clause 4 (what a frame costs on the medium).
 *
 * A cold start empties the wire; a reset of the machine does not reach what lies outside it. Not modelled: half duplex and collisions, pause frames, damaged
 * frames, negotiation of the speed.
 */
import { assert } from "../base/assert.ts";
import type { CauseId, Ns } from "../base/units.ts";
import {
  ETHERNET_HEADER,
  type EthernetListener,
  type EthernetPort,
  type EthernetStation,
  FRAME_OVERHEAD,
  MAX_FRAME,
  MIN_FRAME,
} from "../ports/ethernet.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import { type Alarm, type EventQueue, PRIORITY } from "../sim/event-queue.ts";

/** Bytes and frames that one direction holds, waiting and on their way. */
const QUEUE_BYTES = 65536;
const QUEUE_FRAMES = 128;
const DEFAULT_MEGABITS = 1000;
const DEFAULT_LATENCY: Ns = 1000;
/** Nanoseconds that a byte takes at 1 Mbit/s. */
const BYTE_NS_MEGABIT = 8000;

export type LaneState = {
  /** When the last bit of the last frame has left, ns. */
  idleAt: number;
  /** Place in `bytes` of the oldest frame, and bytes in use; the ring goes on at its beginning. */
  head: number;
  used: number;
  bytes: Uint8Array;
  /** Ring of frames: index of the oldest, number; length and moment of arrival (ns) of each. */
  first: number;
  count: number;
  lengths: Uint16Array;
  arrivals: Float64Array;
  /** Frames lost because the queue was full or the link down. */
  dropped: number;
};
export type WireState = { up: boolean; lanes: LaneState[] };

export type WireOptions = {
  readonly name: string;
  readonly queue: EventQueue;
  /** Mbit/s; 1000 when left out. */
  readonly megabits?: number;
  /** From the last bit's leaving to its arrival, ns; 1000 when left out. */
  readonly latency?: Ns;
  /** The link after power on; up when left out. */
  readonly up?: boolean;
};

const emptyLane = (): LaneState => ({
  idleAt: 0,
  head: 0,
  used: 0,
  bytes: new Uint8Array(QUEUE_BYTES),
  first: 0,
  count: 0,
  lengths: new Uint16Array(QUEUE_FRAMES),
  arrivals: new Float64Array(QUEUE_FRAMES),
  dropped: 0,
});

/** One direction. */
class Lane {
  readonly state: LaneState;
  station: EthernetStation | null = null;
  readonly #clockQueue: EventQueue;
  readonly #byteNs: number;
  readonly #latency: Ns;
  readonly #arrival: Alarm;
  readonly #frame = new Uint8Array(MAX_FRAME);
  /** Observation only, therefore not state. */
  readonly #causes = new Float64Array(QUEUE_FRAMES);

  constructor(name: string, state: LaneState, queue: EventQueue, megabits: number, latency: Ns) {
    this.state = state;
    this.#clockQueue = queue;
    this.#byteNs = BYTE_NS_MEGABIT / megabits;
    this.#latency = latency;
    this.#arrival = queue.alarm(name, () => this.#arrived(), PRIORITY.device);
  }

  /** Forgets what is on its way. */
  empty(): void {
    const { state: s } = this;
    this.#arrival.cancel();
    s.idleAt = s.head = s.used = s.first = s.count = 0;
    s.bytes.fill(0);
    s.lengths.fill(0);
    s.arrivals.fill(0);
    this.#causes.fill(0);
  }

  /** Returns when the first bit leaves, −1 when there is no room. */
  send(frame: Uint8Array, length: number, cause: CauseId): Ns {
    const { state: s } = this;
    if (s.count === QUEUE_FRAMES || s.used + length > QUEUE_BYTES) return -1;
    const start = Math.max(this.#clockQueue.clock.now(), s.idleAt);
    s.idleAt = start + Math.ceil((Math.max(length, MIN_FRAME) + FRAME_OVERHEAD) * this.#byteNs);
    const at = (s.head + s.used) % QUEUE_BYTES;
    const whole = Math.min(length, QUEUE_BYTES - at);
    s.bytes.set(frame.subarray(0, whole), at);
    s.bytes.set(frame.subarray(whole, length), 0);
    s.used += length;
    const slot = (s.first + s.count) % QUEUE_FRAMES;
    s.lengths[slot] = length;
    s.arrivals[slot] = s.idleAt + this.#latency;
    this.#causes[slot] = cause;
    if (s.count++ === 0) this.#arrival.armAt(s.arrivals[slot]!);
    return start;
  }

  #arrived(): void {
    const { state: s } = this;
    const { first } = s;
    const length = s.lengths[first]!;
    const whole = Math.min(length, QUEUE_BYTES - s.head);
    this.#frame.set(s.bytes.subarray(s.head, s.head + whole), 0);
    this.#frame.set(s.bytes.subarray(0, length - whole), whole);
    s.head = (s.head + length) % QUEUE_BYTES;
    s.used -= length;
    s.first = (first + 1) % QUEUE_FRAMES;
    if (--s.count > 0) this.#arrival.armAt(s.arrivals[s.first]!);
    this.station?.receive(this.#frame, length, this.#causes[first]!);
  }

  restored(): void {
    this.#causes.fill(0);
  }
}

export class EthernetWire implements Part {
  readonly name: string;
  readonly state: WireState;
  /** Its two ends. */
  readonly ports: readonly [EthernetPort, EthernetPort];
  /** Hears every frame that is accepted. */
  listener: EthernetListener | null = null;
  readonly #lanes: readonly [Lane, Lane];
  readonly #upAtStart: boolean;

  constructor(options: WireOptions) {
    const { name, queue, megabits = DEFAULT_MEGABITS, latency = DEFAULT_LATENCY, up = true } = options;
    assert(megabits > 0 && latency >= 0, `${name}: ${megabits} Mbit/s, ${latency} ns`);
    this.name = name;
    this.#upAtStart = up;
    this.state = { up, lanes: [emptyLane(), emptyLane()] };
    const lane = (from: 0 | 1): Lane =>
      new Lane(`${name} from end ${from}`, this.state.lanes[from]!, queue, megabits, latency);
    this.#lanes = [lane(0), lane(1)];
    this.ports = [this.#port(0, megabits), this.#port(1, megabits)];
  }

  #port(end: 0 | 1, megabits: number): EthernetPort {
    const { state } = this;
    const [out, back] = end === 0 ? this.#lanes : [this.#lanes[1], this.#lanes[0]];
    return {
      get linkUp() {
        return state.up;
      },
      get idleAt() {
        return out.state.idleAt;
      },
      megabits,
      connect: station => {
        assert(back.station === null, `${this.name}: end ${end} has a station already`);
        back.station = station;
      },
      send: (frame, length, cause) => this.#send(end, out, frame, length, cause),
    };
  }

  #send(end: number, lane: Lane, frame: Uint8Array, length: number, cause: CauseId): boolean {
    const possible = this.state.up && length >= ETHERNET_HEADER && length <= MAX_FRAME;
    const start = possible ? lane.send(frame, length, cause) : -1;
    if (start < 0) lane.state.dropped++;
    else if (this.listener !== null) this.listener.frame(start, end, frame, length);
    return start >= 0;
  }

  /** Plugs the cable in or pulls it: what is on its way is lost, and both stations hear of it. */
  setLink(up: boolean): void {
    if (up === this.state.up) return;
    this.state.up = up;
    for (const lane of this.#lanes) lane.empty();
    for (const lane of this.#lanes) lane.station?.linkChanged(up);
  }

  reset(phase: ResetPhase, kind: ResetKind): void {
    if (phase !== "enter" || kind !== "power") return;
    this.state.up = this.#upAtStart;
    for (const lane of this.#lanes) {
      lane.empty();
      lane.state.dropped = 0;
    }
  }

  restored(): void {
    for (const lane of this.#lanes) lane.restored();
  }
}
