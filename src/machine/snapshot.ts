/**
 * The whole machine's state: every part's record, lines, alarms, clock, order of execution, and RAM by page (pages of zeros are left out). Loading makes
 * no edge, no message and no event.
 */
import { HostError } from "../base/assert.ts";
import { Hasher } from "../base/hash.ts";
import { PAGE } from "../base/units.ts";
import type { Ram } from "../memory/ram.ts";
import type { Line } from "../ports/line.ts";
import type { Part } from "../ports/part.ts";
import type { Clock } from "../sim/clock.ts";
import type { EventQueue, QueueState } from "../sim/event-queue.ts";
import { hashInto, loadState, saveState, type StateRecord } from "../sim/state.ts";

export const SNAPSHOT_VERSION = 1;

export type Snapshot = {
  readonly version: number;
  /** By part name; lines under `line:` and their number. */
  readonly records: { readonly [name: string]: StateRecord };
  /** By part name; see {@link Part.saveCaches}. */
  readonly caches: { readonly [name: string]: StateRecord };
  readonly queue: QueueState;
  readonly ramBytes: number;
  /** Numbers of the pages that are not all zero, and their bytes one after the other. */
  readonly pages: Uint32Array;
  readonly bytes: Uint8Array;
};

/** Everything that has state. */
export type Stateful = {
  readonly parts: readonly Part[];
  readonly lines: readonly Line[];
  readonly clock: Clock;
  readonly queue: EventQueue;
  readonly ram: Ram;
  /** The scheduler's record. */
  readonly order: StateRecord;
};

function* records(machine: Stateful): Generator<[string, StateRecord]> {
  yield ["clock", machine.clock.state];
  yield ["order", machine.order];
  for (const line of machine.lines) yield [`line:${line.index}`, line.state];
  for (const part of machine.parts) yield [part.name, part.state];
}

/** Numbers of the pages of RAM that hold anything but zeros. */
function* usedPages(ram: Ram): Generator<number> {
  const words = new Int32Array(ram.buffer, ram.base, ram.size / 4);
  const step = PAGE / 4;
  for (let page = 0; page < ram.size / PAGE; page++) if (!allZero(words, page * step, step)) yield page;
}

/** Four words a turn: this looks at all of RAM. */
function allZero(words: Int32Array, start: number, count: number): boolean {
  for (let i = start; i < start + count; i += 4) {
    if ((words[i]! | words[i + 1]! | words[i + 2]! | words[i + 3]!) !== 0) return false;
  }
  return true;
}

export function saveMachine(machine: Stateful): Snapshot {
  const saved: { [name: string]: StateRecord } = {};
  for (const [name, record] of records(machine)) {
    if (name in saved) throw new HostError(`two parts are called ${name}`, 70);
    saved[name] = saveState(record);
  }
  const caches: { [name: string]: StateRecord } = {};
  for (const part of machine.parts) if (part.saveCaches !== undefined) caches[part.name] = part.saveCaches();
  const pages = Uint32Array.from(usedPages(machine.ram));
  const bytes = new Uint8Array(pages.length * PAGE);
  pages.forEach((page, i) => {
    machine.ram.copyOut(page * PAGE, bytes, i * PAGE, PAGE);
  });
  return {
    version: SNAPSHOT_VERSION,
    records: saved,
    caches,
    queue: machine.queue.save(),
    ramBytes: machine.ram.size,
    pages,
    bytes,
  };
}

/** Throws {@link HostError} with status 66 when the snapshot is of another machine or version. */
export function loadMachine(machine: Stateful, snapshot: Snapshot): void {
  if (snapshot.version !== SNAPSHOT_VERSION) throw new HostError(`snapshot has version ${snapshot.version}`, 66);
  if (snapshot.ramBytes !== machine.ram.size) throw new HostError("snapshot does not fit: another size of memory", 66);
  const names = [...records(machine)].map(([name]) => name);
  for (const name of Object.keys(snapshot.records)) {
    if (!names.includes(name)) throw new HostError(`snapshot does not fit: this machine has no ${name}`, 66);
  }
  // Untouched pages stay untouched, so that the host need not give memory for them.
  for (const page of usedPages(machine.ram)) machine.ram.fill(page * PAGE, PAGE);
  snapshot.pages.forEach((page, i) => {
    machine.ram.copyIn(page * PAGE, snapshot.bytes, i * PAGE, PAGE);
  });
  for (const [name, record] of records(machine)) {
    const saved = snapshot.records[name];
    if (saved === undefined) throw new HostError(`snapshot does not fit: it has no ${name}`, 66);
    loadState(record, saved, name);
  }
  machine.queue.load(snapshot.queue);
  for (const line of machine.lines) line.restored();
  for (const part of machine.parts) part.restored?.();
  for (const part of machine.parts) {
    const caches = snapshot.caches[part.name];
    if (caches !== undefined) part.loadCaches?.(caches);
  }
}

/** 32 hexadecimal digits that depend on everything that {@link saveMachine} saves, but for the caches. */
export function hashMachine(machine: Stateful): string {
  const hasher = new Hasher();
  for (const [name, record] of records(machine)) {
    hasher.string(name);
    hashInto(hasher, record);
  }
  hashInto(hasher, machine.queue.save());
  for (const page of usedPages(machine.ram)) {
    hasher.word(page);
    hasher.words(new Int32Array(machine.ram.buffer, machine.ram.base + page * PAGE, PAGE / 4));
  }
  return hasher.digest();
}
