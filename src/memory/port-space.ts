/**
 * The 64 Ki I/O ports (Intel SDM vol. 1, chapter "Input/Output"). A port that nobody answers reads all-ones and swallows writes. Accesses that
 * touch several parts are split at their borders; the width policy inside a part is access.ts.
 *
 * Behind the board's own parts lie the windows of I/O BARs, which the guest may put anywhere: they answer at ports that no other part has, of two at the
 * same port the one that was claimed first.
 */
import { assert } from "../base/assert.ts";
import { hex } from "../base/int.ts";
import type { BarSpace, Placement } from "../ports/pci.ts";
import type { Window } from "../ports/window.ts";
import { checkWindow, describeRegister, readWindow, writeWindow } from "./access.ts";

export const PORTS = 0x10000;

/** Where a part of a window lies. */
class PortMapping {
  readonly window: Window;
  /** Window offset of port p is `p - shift`. */
  readonly shift: number;
  readonly first: number;
  readonly end: number;
  /** Single bytes, the usual access, go to the part as they are. Kept here because windows are of many shapes. */
  readonly bytes: boolean;
  constructor(window: Window, first: number, count: number, offset: number) {
    this.window = window;
    this.first = first;
    this.end = first + count;
    this.shift = first - offset;
    this.bytes = window.minWidth === 1;
  }
}

export type PortRange = {
  /** First offset inside the window, 0 when absent. */
  readonly offset?: number;
  /** Number of ports, the rest of the window when absent. */
  readonly count?: number;
};

export class PortSpace implements BarSpace {
  /** By order of claim; null while a window is not placed. */
  readonly #behind: (PortMapping | null)[] = [];
  readonly #mappings: (PortMapping | null)[] = [null];
  /** Index into #mappings by port, 0 for nobody. */
  readonly #owner = new Uint16Array(PORTS);

  /** Maps (a piece of) a window at port `first`. Ports that are taken are refused. */
  map(window: Window, first: number, range: PortRange = {}): void {
    checkWindow(window);
    const offset = range.offset ?? 0;
    const count = range.count ?? window.size - offset;
    assert(count >= 1 && offset + count <= window.size, `${window.name}: ports ${offset}+${count} exceed the window`);
    assert(first >= 0 && first + count <= PORTS, `${window.name}: port ${hex(first)} is out of range`);
    for (let port = first; port < first + count; port++) {
      const other = this.#mappings[this.#owner[port]!]!;
      assert(other === null, `${window.name}: port ${hex(port)} belongs to ${other?.window.name}`);
    }
    this.#owner.fill(this.#mappings.length, first, first + count);
    this.#mappings.push(new PortMapping(window, first, count, offset));
  }

  /** Removes every mapping of `window`. */
  unmap(window: Window): void {
    for (let port = 0; port < PORTS; port++) {
      if (this.#mappings[this.#owner[port]!]?.window === window) this.#owner[port] = 0;
    }
  }

  claim(window: Window): Placement {
    checkWindow(window);
    const index = this.#behind.push(null) - 1;
    return {
      place: first => {
        assert(first >= 0 && first + window.size <= PORTS, `${window.name}: port ${hex(first)} is out of range`);
        this.#behind[index] = new PortMapping(window, first, window.size, 0);
      },
      remove: () => {
        this.#behind[index] = null;
      },
    };
  }

  /** Who answers at `port`; a mapping behind the board counts only if it has all of `width` ports. */
  #find(port: number, width: number): PortMapping | null {
    const mapping = this.#mappings[this.#owner[port]!] ?? null;
    if (mapping !== null || this.#behind.length === 0) return mapping;
    for (let i = 1; i < width; i++) if (this.#owner[port + i] !== 0) return null;
    for (const other of this.#behind) {
      if (other === null || port >= other.end || port + width <= other.first) continue;
      return port >= other.first && port + width <= other.end ? other : null;
    }
    return null;
  }

  /** Unsigned value of 1, 2 or 4 bytes at any port; ports above 0xFFFF do not answer. */
  read(port: number, width: number): number {
    const mapping = this.#find(port, width);
    if (width === 1 && mapping?.bytes === true) return mapping.window.read(port - mapping.shift, 1) >>> 0;
    if (mapping !== null && port + width <= mapping.end) return readWindow(mapping.window, port - mapping.shift, width);
    if (width === 1) return 0xff;
    let value = 0;
    for (let i = 0; i < width; i++) value += this.read(port + i, 1) * 2 ** (8 * i);
    return value;
  }

  write(port: number, width: number, value: number): void {
    const mapping = this.#find(port, width);
    if (mapping !== null && port + width <= mapping.end) {
      writeWindow(mapping.window, port - mapping.shift, width, value);
      return;
    }
    if (width === 1) return;
    for (let i = 0; i < width; i++) this.write(port + i, 1, (value >>> (8 * i)) & 0xff);
  }

  /** `part.REGISTER` for logs, an empty string where nobody answers. */
  describe(port: number): string {
    const mapping = this.#find(port, 1);
    if (mapping === null) return "";
    const offset = port - mapping.shift;
    return describeRegister(mapping.window, offset);
  }
}
