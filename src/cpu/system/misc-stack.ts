/** The present stack for helpers: SS:rSP with the width that the mode and SS.B give. Intel SDM vol. 3A, 6.2.3 of vol. 1 ("Stack address size"). */
import * as L from "../layout.ts";
import { type CpuState, MODE } from "../state.ts";
import type { MemoryPort, TlbPort } from "./helper-ports.ts";
import { isCanonical } from "./operands.ts";

const RSP = L.GPR + L.REG.rsp * 8;
/** First address above the canonical ones. */
const CANONICAL = 2 ** 47;

export class HelperStack {
  readonly #s: CpuState;
  readonly #tlb: TlbPort;
  readonly #memory: MemoryPort;

  constructor(s: CpuState, tlb: TlbPort, memory: MemoryPort) {
    this.#s = s;
    this.#tlb = tlb;
    this.#memory = memory;
  }

  /** In 64-bit mode, where rSP + delta lies in the memory buffer when it can be accessed at once; else −1. */
  #host(delta: number, size: number, write: boolean): number {
    const s = this.#s;
    const tlb = this.#tlb;
    if (s.int(L.CODE_MODE) !== MODE.code64 || tlb.strict || !isCanonical(s.hi(RSP))) return -1;
    const linear = s.num(RSP) + delta;
    // Near the end of the canonical addresses the full checks apply.
    if (linear < -CANONICAL || linear + size > CANONICAL) return -1;
    return tlb.direct(tlb.bank, linear, size, write);
  }

  /** Bytes of a stack address: 2, 4 or 8. */
  get width(): number {
    const s = this.#s;
    if (s.int(L.CODE_MODE) === MODE.code64) return 8;
    return s.lo(L.STACK_MASK) === 0xffff ? 2 : 4;
  }

  /** Puts register + delta (|delta| < 2^31), as an address on the stack, into SLOW_ADDRESS. */
  address(register: number, delta: number): void {
    const s = this.#s;
    const sum = s.lo(register) + delta;
    if (s.int(L.CODE_MODE) === MODE.code64) {
      s.set64(L.SLOW_ADDRESS, sum, s.hi(register) + Math.floor(sum / 4294967296));
    } else s.set64(L.SLOW_ADDRESS, sum & s.int(L.STACK_MASK), 0);
  }

  /** Moves rSP by `delta`, wrapping at its width. */
  move(delta: number): void {
    const s = this.#s;
    const sum = s.lo(RSP) + delta;
    if (s.int(L.CODE_MODE) === MODE.code64) {
      s.setLo(RSP, sum);
      if (sum < 0) s.setLo(RSP + 4, s.hi(RSP) - 1);
      else if (sum > 0xffffffff) s.setLo(RSP + 4, s.hi(RSP) + 1);
    } else if (s.lo(L.STACK_MASK) === 0xffff) s.u16[(s.base + RSP) >>> 1] = sum;
    else s.set64(RSP, sum, 0);
  }

  /** Pushes `size` bytes; when it faults nothing has changed. */
  push(size: number, low: number, high: number): void {
    this.write(-size, size, low, high);
    this.move(-size);
  }

  /** Writes at rSP + delta without moving rSP. */
  write(delta: number, size: number, low: number, high: number): void {
    const host = this.#host(delta, size, true);
    if (host >= 0) {
      const { view } = this.#s;
      if (size === 2) view.setUint16(host, low, true);
      else view.setUint32(host, low, true);
      if (size === 8) view.setUint32(host + 4, high, true);
      return;
    }
    this.address(RSP, delta);
    this.#memory.lo = low;
    this.#memory.hi = high;
    this.#memory.storeAt(L.SEG.ss, size);
  }

  /** Reads `size` bytes at rSP into the memory port's lo and hi; {@link move} then pops them. */
  peek(size: number): void {
    const host = this.#host(0, size, false);
    if (host >= 0) {
      const { view } = this.#s;
      this.#memory.lo = size === 2 ? view.getUint16(host, true) : view.getUint32(host, true);
      this.#memory.hi = size === 8 ? view.getUint32(host + 4, true) : 0;
      return;
    }
    this.address(RSP, 0);
    this.#memory.loadAt(L.SEG.ss, size);
  }
}
