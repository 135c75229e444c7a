/**
 * Events as lines of text while they happen: `--log irq,exc,ipi`. A line has the virtual time in ns, the subject, the event, and its numbers by name;
 * registers are named, not numbered.
 */
import { HostError } from "../base/assert.ts";
import type { CauseId, Ns } from "../base/units.ts";
import { EVENT, EVENTS, type EventField, type EventInfo } from "../ports/events.ts";
import { DELIVERY_NAMES } from "../ports/message.ts";
import type { TraceListener } from "../sim/trace.ts";
import { type EventNames, exceptionName, hexOf, LVT_NAMES, subjectName } from "./names.ts";

/** The event kinds that a list of groups and event names (and `all`) selects. Throws {@link HostError} 64 for an unknown one. */
export function parseLogSelection(text: string): number[] {
  const kinds = new Set<number>();
  for (const word of text.split(",").map(part => part.trim())) {
    const found = EVENTS.filter(info => word === "all" || info.group === word || info.name === word);
    if (found.length === 0) {
      const groups = [...new Set(EVENTS.map(info => info.group))].join(", ");
      throw new HostError(`--log: "${word}" is neither a group (${groups}, all) nor an event`, 64);
    }
    for (const info of found) kinds.add(info.kind);
  }
  return [...kinds];
}

export class TextLog implements TraceListener {
  readonly #names: EventNames;
  readonly #write: (line: string) => void;
  readonly #infos = new Map<number, EventInfo>(EVENTS.map(info => [info.kind, info]));

  /** @param write gets one line without its end */
  constructor(names: EventNames, write: (line: string) => void) {
    this.#names = names;
    this.#write = write;
  }

  event(time: Ns, kind: number, subject: number, a: number, b: number, c: number, id: CauseId, cause: CauseId): void {
    const info = this.#infos.get(kind);
    if (info === undefined) return;
    const words = [
      time.toString().padStart(12),
      subjectName(this.#names, info.subject, subject),
      // "line serial level=1", not "line serial line level=1".
      ...(info.name === info.subject ? [] : [info.name]),
      ...this.#details(info, [a, b, c]),
      `#${id}`,
    ];
    if (cause !== 0) words.push(`<- #${cause}`);
    this.#write(words.join(" "));
  }

  #details(info: EventInfo, values: readonly number[]): string[] {
    const words: string[] = [];
    info.fields.forEach((field, i) => {
      const text = this.#field(info, field, values[i]!);
      if (text !== "") words.push(text);
    });
    return words;
  }

  #field(info: EventInfo, field: EventField, value: number): string {
    const { kind } = info;
    if (field.name === "address") return this.#named(hexOf(value), this.#names.address(value));
    if (field.name === "msr") return this.#named(hexOf(value), this.#names.msr(value));
    if (field.name === "port") return this.#named(hexOf(value), this.#names.port(value));
    if (field.name === "entry" && kind === EVENT.lvtFire) return LVT_NAMES[value] ?? `entry ${value}`;
    if (field.name === "vector" && kind === EVENT.exception) return exceptionName(value);
    switch (field.as) {
      case "flag":
        return value !== 0 ? field.name : "";
      case "deliveryMode":
        return DELIVERY_NAMES[value] ?? `mode ${value}`;
      case "hex":
        return value === -1 ? "" : `${field.name}=${hexOf(value)}`;
      default:
        return `${field.name}=${value}`;
    }
  }

  #named(number: string, name: string): string {
    return name === "" ? number : `${name} (${number})`;
  }
}
