/**
 * Memory operands of more than 64 bytes (FXSAVE, XSAVE, FNSAVE and the loads of their images), moved in pieces through the memory port. Nothing is written
 * unless all of it can be written.
 */
import * as L from "../layout.ts";
import type { CpuState } from "../state.ts";
import type { MemoryPort } from "./helper-ports.ts";

/** What the memory port moves at once at most. */
const PIECE = 64;
/** The longest image: XSAVE with x87 and SSE. */
const LONGEST = 576;

export class OperandBlock {
  readonly bytes = new Uint8Array(LONGEST);
  readonly view = new DataView(this.bytes.buffer);
  readonly #s: CpuState;
  readonly #memory: MemoryPort;

  constructor(s: CpuState, memory: MemoryPort) {
    this.#s = s;
    this.#memory = memory;
  }

  /** Reads `length` bytes of the memory operand of `record` into {@link bytes}. */
  load(record: number, length: number): void {
    const s = this.#s;
    const from = s.base + L.SLOW_DATA;
    const seg = s.u8[record + L.REC.seg]! >>> 3;
    const low = s.lo(L.SLOW_ADDRESS);
    const high = s.hi(L.SLOW_ADDRESS);
    for (let at = 0; at < length; at += PIECE) {
      const size = Math.min(PIECE, length - at);
      this.#address(low, high, at);
      this.#memory.loadAt(seg, size);
      for (let i = 0; i < size; i++) this.bytes[at + i] = s.u8[from + i]!;
    }
    s.set64(L.SLOW_ADDRESS, low, high);
  }

  /** Raises what a write of `length` bytes to the memory operand would raise. */
  probe(record: number, length: number): void {
    const seg = this.#s.u8[record + L.REC.seg]! >>> 3;
    if (this.#memory.probeWrite(seg, length) !== 0) this.#memory.throwFault();
  }

  /** Writes bytes `from` to `to` of {@link bytes} to the same offsets in the memory operand, which was probed. */
  store(record: number, from: number, to: number): void {
    const s = this.#s;
    const data = s.base + L.SLOW_DATA;
    const seg = s.u8[record + L.REC.seg]! >>> 3;
    const low = s.lo(L.SLOW_ADDRESS);
    const high = s.hi(L.SLOW_ADDRESS);
    for (let at = from; at < to; at += PIECE) {
      const size = Math.min(PIECE, to - at);
      this.#address(low, high, at);
      for (let i = 0; i < size; i++) s.u8[data + i] = this.bytes[at + i]!;
      this.#memory.lo = s.lo(L.SLOW_DATA);
      this.#memory.hi = s.hi(L.SLOW_DATA);
      this.#memory.storeAt(seg, size);
    }
    s.set64(L.SLOW_ADDRESS, low, high);
  }

  #address(low: number, high: number, delta: number): void {
    const sum = low + delta;
    this.#s.set64(L.SLOW_ADDRESS, sum, high + (sum > 0xffffffff ? 1 : 0));
  }
}
