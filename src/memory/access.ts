/**
 * The width policy of windows, in one place: a part's `read` and `write` see only powers of two between its minWidth and maxWidth, aligned.
 * A wider access is split, lowest address first (IA-32 SDM vol. 1, 19.3 "I/O address space": a bus that is narrower than the access makes several
 * cycles); a narrower read is widened and cut; a narrower write follows `narrowWrites`.
 */
import { assert, unreachable } from "../base/assert.ts";
import { hex } from "../base/int.ts";
import type { Window } from "../ports/window.ts";

/** Refuses windows that the policy below could not serve. */
export function checkWindow(window: Window): void {
  const { name, size, minWidth, maxWidth } = window;
  assert(size >= 1 && Number.isInteger(size), `window ${name}: size ${size}`);
  assert(minWidth <= maxWidth, `window ${name}: minWidth ${minWidth} is above maxWidth ${maxWidth}`);
  assert(size % minWidth === 0, `window ${name}: size ${size} is no multiple of its minWidth ${minWidth}`);
}

/** `part.REGISTER` for people; some parts say their own name already. */
export function describeRegister(window: Window, offset: number): string {
  const register = window.describe?.(offset) ?? hex(offset);
  const named = register.toLowerCase().includes(window.name.toLowerCase());
  return named ? register : `${window.name}.${register}`;
}

/** Largest aligned power of two, at most `limit`, that starts at `offset` and has at most `left` bytes. */
function chunkAt(offset: number, left: number, limit: number): number {
  if (limit >= 4 && left >= 4 && offset % 4 === 0) return 4;
  if (limit >= 2 && left >= 2 && offset % 2 === 0) return 2;
  return 1;
}

const maskOf = (width: number): number => (width >= 4 ? 0xffffffff : 2 ** (8 * width) - 1);

/** Unsigned value of `width` (1 … 4) bytes at `offset`; all of them lie inside the window. */
export function readWindow(window: Window, offset: number, width: number): number {
  if (width >= window.minWidth && width <= window.maxWidth && width !== 3 && offset % width === 0) {
    return window.read(offset, width) >>> 0;
  }
  let value = 0;
  let done = 0;
  while (done < width) {
    const at = offset + done;
    const chunk = chunkAt(at, width - done, window.maxWidth);
    let part: number;
    let taken: number;
    if (chunk >= window.minWidth) {
      taken = chunk;
      part = window.read(at, chunk);
    } else {
      const skip = at % window.minWidth;
      taken = Math.min(width - done, window.minWidth - skip);
      part = window.read(at - skip, window.minWidth) >>> (8 * skip);
    }
    value |= (part & maskOf(taken)) << (8 * done);
    done += taken;
  }
  return value >>> 0;
}

/** Writes the low `width` (1 … 4) bytes of `value` at `offset`; all of them lie inside the window. */
export function writeWindow(window: Window, offset: number, width: number, value: number): void {
  if (width >= window.minWidth && width <= window.maxWidth && width !== 3 && offset % width === 0) {
    window.write(offset, width, (value & maskOf(width)) >>> 0);
    return;
  }
  let done = 0;
  while (done < width) {
    const at = offset + done;
    const rest = value >>> (8 * done);
    const chunk = chunkAt(at, width - done, window.maxWidth);
    if (chunk >= window.minWidth) {
      window.write(at, chunk, (rest & maskOf(chunk)) >>> 0);
      done += chunk;
    } else {
      const skip = at % window.minWidth;
      const taken = Math.min(width - done, window.minWidth - skip);
      writeNarrow(window, at - skip, skip, taken, rest);
      done += taken;
    }
  }
}

/** Writes `width` bytes at `skip` inside the register of minWidth bytes at `register`. */
function writeNarrow(window: Window, register: number, skip: number, width: number, value: number): void {
  switch (window.narrowWrites ?? "drop") {
    case "drop":
      return;
    case "merge": {
      const mask = maskOf(width) << (8 * skip);
      const old = window.read(register, window.minWidth);
      window.write(register, window.minWidth, ((old & ~mask) | ((value << (8 * skip)) & mask)) >>> 0);
      return;
    }
    default:
      unreachable(window.narrowWrites as never, `window ${window.name}: narrowWrites`);
  }
}
