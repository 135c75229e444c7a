/**
 * Where a debugger outside the machine wants processors to stop: code addresses and watched data, shared by all processors of an engine. The guest cannot
 * see any of it (its own debug registers are system/debug-registers.ts), and a run that only goes on behind its stops is the run without them.
 *
 * Code: a page with a stop leads to a second table of decoded code, in which the stops' offsets are never decoded. So generated code comes back to
 * TypeScript exactly there and nowhere else, and pages without stops run as ever. Data: the pages lose their tags in the TLBs, so that every access takes
 * the slow path, which asks here. The TLBs keep what they know, and nothing is flushed.
 *
 * Not watched: accesses of the page walker and of bus masters. Addresses are linear.
 */
import { assert } from "../base/assert.ts";
import { PAGE } from "../base/units.ts";

/** A stretch of watched memory. */
export type Watch = {
  /** First linear address, and bytes. */
  readonly from: number;
  readonly length: number;
  readonly read: boolean;
  readonly write: boolean;
};

export class DebugStops {
  /** There are code stops; there are watches. */
  armed = false;
  watching = false;
  /** By offset in a page: number of code stops there, in whatever page. */
  readonly offsets = new Uint8Array(PAGE);
  /** Processor `cpu` is about to run the instruction at a stop. True: it stops. */
  onCode: (cpu: number, linear: number) => boolean = () => true;
  /** The present instruction of `cpu` accesses watched memory; whoever wants it to stop behind the instruction says so to the machine. */
  onData: (cpu: number, watch: Watch) => void = () => {};
  /** The engine's part: a page got its first stop or lost its last one; the offsets changed; the watches changed. */
  pageChanged: (page: number, stops: boolean) => void = () => {};
  offsetsChanged: () => void = () => {};
  watchesChanged: () => void = () => {};
  readonly #code = new Map<number, number>();
  readonly #pages = new Map<number, number>();
  readonly #watches: Watch[] = [];
  /** By processor: the instruction that the user has seen it stop at, and what it had retired then. */
  readonly #seen = new Map<number, { linear: number; retired: number }>();

  /** Adds a code stop; an address may have several. */
  addCode(linear: number): void {
    const before = this.#code.get(linear) ?? 0;
    this.#code.set(linear, before + 1);
    if (before > 0) return;
    const page = Math.floor(linear / PAGE);
    const inPage = this.#pages.get(page) ?? 0;
    this.#pages.set(page, inPage + 1);
    this.offsets[linear & (PAGE - 1)]!++;
    this.armed = true;
    this.offsetsChanged();
    if (inPage === 0) this.pageChanged(page, true);
  }

  /** Takes away one code stop that {@link addCode} added. */
  removeCode(linear: number): void {
    const before = this.#code.get(linear) ?? 0;
    assert(before > 0, `debug stops: none at ${linear}`);
    if (before > 1) {
      this.#code.set(linear, before - 1);
      return;
    }
    this.#code.delete(linear);
    const page = Math.floor(linear / PAGE);
    const inPage = this.#pages.get(page)! - 1;
    if (inPage > 0) this.#pages.set(page, inPage);
    else this.#pages.delete(page);
    this.offsets[linear & (PAGE - 1)]!--;
    this.armed = this.#code.size > 0;
    this.offsetsChanged();
    if (inPage === 0) this.pageChanged(page, false);
  }

  /** Whether the page of `linear` has code stops. */
  inPage(linear: number): boolean {
    return this.#pages.has(Math.floor(linear / PAGE));
  }

  /** The user has seen processor `cpu` stopped before the instruction at `linear`: going on from there is no stop again. */
  seen(cpu: number, linear: number, retired: number): void {
    this.#seen.set(cpu, { linear, retired });
  }

  /** Asked before the instruction at `linear`, `retired` instructions after power on. */
  hit(cpu: number, linear: number, retired: number): boolean {
    if (!this.#code.has(linear)) return false;
    const seen = this.#seen.get(cpu);
    if (seen !== undefined && seen.linear === linear && seen.retired === retired) return false;
    return this.onCode(cpu, linear);
  }

  addWatch(watch: Watch): void {
    this.#watches.push(watch);
    this.watching = true;
    this.watchesChanged();
  }

  /** Takes away the very watch that {@link addWatch} added. */
  removeWatch(watch: Watch): void {
    const at = this.#watches.indexOf(watch);
    assert(at >= 0, "debug stops: no such watch");
    this.#watches.splice(at, 1);
    this.watching = this.#watches.length > 0;
    this.watchesChanged();
  }

  /** Whether reads (with `reads`) or writes of a linear page must be looked at. A read-modify-write goes by the write tag, so reads need both. */
  pageWatched(page: number, reads: boolean): boolean {
    for (const { from, length, read } of this.#watches) {
      if (reads && !read) continue;
      if (Math.floor(from / PAGE) <= page && page <= Math.floor((from + length - 1) / PAGE)) return true;
    }
    return false;
  }

  /** `cpu` accesses `size` bytes. A read-modify-write is both a read and a write. */
  access(cpu: number, linear: number, size: number, read: boolean, write: boolean): void {
    for (const watch of this.#watches) {
      if (linear >= watch.from + watch.length || watch.from >= linear + size) continue;
      if ((read && watch.read) || (write && watch.write)) this.onData(cpu, watch);
    }
  }
}
