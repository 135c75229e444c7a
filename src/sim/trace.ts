/**
 * Typed probes. A part emits what happened together with the id of what caused it; listeners (the report, text logs, Perfetto, checkers) watch and
 * never touch. A kind that nobody wants costs one byte load. Ids are observation only: they are never part of a machine's state or hash.
 */
import type { CauseId, Ns } from "../base/units.ts";
import type { Clock } from "./clock.ts";

/** Receives every event of the kinds it asked for, in order. `subject`, `a`, `b`, `c` mean what `ports/events.ts` says for the kind. */
export interface TraceListener {
  event(time: Ns, kind: number, subject: number, a: number, b: number, c: number, id: CauseId, cause: CauseId): void;
}

export class Trace {
  /** One byte per kind, not 0 when somebody listens. */
  readonly wants = new Uint8Array(256);
  readonly #clock: Clock;
  readonly #listeners: (readonly TraceListener[])[] = Array.from({ length: 256 }, () => []);
  #nextId = 1;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `listener` hears the given kinds from now on. */
  listen(listener: TraceListener, kinds: Iterable<number>): void {
    for (const kind of kinds) {
      this.wants[kind] = 1;
      this.#listeners[kind] = [...this.#listeners[kind]!, listener];
    }
  }

  /** Stops `listener` for all kinds. */
  unlisten(listener: TraceListener): void {
    for (let kind = 0; kind < 256; kind++) {
      this.#listeners[kind] = this.#listeners[kind]!.filter(l => l !== listener);
      this.wants[kind] = this.#listeners[kind]!.length > 0 ? 1 : 0;
    }
  }

  /** Tells the listeners; returns the id to pass on as the cause of what follows (the given cause when nobody listens). */
  emit(kind: number, subject: number, a: number, b: number, c: number, cause: CauseId): CauseId {
    if (this.wants[kind] === 0) return cause;
    return this.#tell(kind, subject, a, b, c, cause);
  }

  #tell(kind: number, subject: number, a: number, b: number, c: number, cause: CauseId): CauseId {
    const id = this.#nextId++;
    const time = this.#clock.now();
    const listeners = this.#listeners[kind]!;
    for (let i = 0; i < listeners.length; i++) listeners[i]!.event(time, kind, subject, a, b, c, id, cause);
    return id;
  }
}
