/** The present stack for helpers: SS:rSP with the width that the mode and SS.B give. Intel SDM vol. 3A, 6.2.3 of vol. 1 ("Stack address size"). */
import * as L from "../layout.ts";
import { type CpuState, MODE } from "../state.ts";
import type { MemoryPort } from "./helper-ports.ts";

const RSP = L.GPR + L.REG.rsp * 8;

export class HelperStack {
  readonly #s: CpuState;
  readonly #memory: MemoryPort;

  constructor(s: CpuState, memory: MemoryPort) {
    this.#s = s;
    this.#memory = memory;
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
    if (s.int(L.CODE_MODE) === MODE.code64) s.set64(RSP, sum, s.hi(RSP) + Math.floor(sum / 4294967296));
    else if (s.lo(L.STACK_MASK) === 0xffff) s.u16[(s.base + RSP) >>> 1] = sum;
    else s.set64(RSP, sum, 0);
  }

  /** Pushes `size` bytes; when it faults nothing has changed. */
  push(size: number, low: number, high: number): void {
    this.write(-size, size, low, high);
    this.move(-size);
  }

  /** Writes at rSP + delta without moving rSP. */
  write(delta: number, size: number, low: number, high: number): void {
    this.address(RSP, delta);
    this.#memory.lo = low;
    this.#memory.hi = high;
    this.#memory.storeAt(L.SEG.ss, size);
  }

  /** Reads `size` bytes at rSP into the memory port's lo and hi; {@link move} then pops them. */
  peek(size: number): void {
    this.address(RSP, 0);
    this.#memory.loadAt(L.SEG.ss, size);
  }
}
