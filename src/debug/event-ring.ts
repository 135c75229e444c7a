/** The last trace events of a run, kept as numbers and written as text when somebody asks. */
import type { CauseId, Ns } from "../base/units.ts";
import type { EventNames } from "../export/names.ts";
import { TextLog } from "../export/text-log.ts";
import { EVENTS } from "../ports/events.ts";
import type { TraceListener } from "../sim/trace.ts";

const KEPT = 4096;
/** Numbers per event. */
const WORDS = 8;

export class EventRing implements TraceListener {
  /** What is kept: everything but single accesses to devices and MSRs, which would push out the rest. */
  static readonly KINDS: readonly number[] = EVENTS.filter(
    ({ group, name }) => group !== "mmio" && group !== "pio" && group !== "msr" && name !== "cpl",
  ).map(({ kind }) => kind);
  readonly #words = new Float64Array(KEPT * WORDS);
  #count = 0;

  event(time: Ns, kind: number, subject: number, a: number, b: number, c: number, id: CauseId, cause: CauseId): void {
    const words = this.#words;
    const at = (this.#count++ % KEPT) * WORDS;
    words[at] = time;
    words[at + 1] = kind;
    words[at + 2] = subject;
    words[at + 3] = a;
    words[at + 4] = b;
    words[at + 5] = c;
    words[at + 6] = id;
    words[at + 7] = cause;
  }

  /** The last `count` events (as far as they are kept), a line each, the oldest first. */
  lines(count: number, names: EventNames): string[] {
    const lines: string[] = [];
    const log = new TextLog(names, line => lines.push(line));
    const first = Math.max(0, this.#count - Math.min(count, KEPT));
    for (let n = first; n < this.#count; n++) {
      const at = (n % KEPT) * WORDS;
      const [time, kind, subject, a, b, c, id, cause] = this.#words.subarray(at, at + WORDS);
      log.event(time!, kind!, subject!, a!, b!, c!, id!, cause!);
    }
    return lines;
  }
}
