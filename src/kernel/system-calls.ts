/**
 * System calls by INT 0x80: the number in RAX, arguments in RDI, RSI and RDX, the result in RAX. The gate's DPL is 3, so that user mode may use it; all
 * other gates refuse it (#GP). Results below 0 are errors, as in Linux: −38 for a number that nobody has.
 */
import { load64, type Task } from "../ports/task.ts";
import { SAVED_GPR } from "./context.ts";
import type { InterruptContext } from "./descriptor.ts";
import { store32 } from "../ports/task.ts";

export type SystemCall = (a: number, b: number, c: number, context: InterruptContext) => Task<number>;

export const ENOSYS = -38;

export class SystemCalls {
  readonly #calls = new Map<number, SystemCall>();
  count = 0;

  /** Throws RangeError for a number that is taken or negative. */
  register(number: number, call: SystemCall): void {
    if (!Number.isInteger(number) || number < 0) throw new RangeError(`system call ${number}`);
    if (this.#calls.has(number)) throw new RangeError(`system call ${number} is there already`);
    this.#calls.set(number, call);
  }

  /** Handler of the vector. */
  *handle(context: InterruptContext): Task {
    const { registers } = context;
    this.count++;
    const number = yield* load64(registers + SAVED_GPR.rax);
    const call = this.#calls.get(number);
    let result = ENOSYS;
    if (call !== undefined) {
      const a = yield* load64(registers + SAVED_GPR.rdi);
      const b = yield* load64(registers + SAVED_GPR.rsi);
      const c = yield* load64(registers + SAVED_GPR.rdx);
      result = yield* call(a, b, c, context);
    }
    yield* store32(registers + SAVED_GPR.rax, result >>> 0);
    yield* store32(registers + SAVED_GPR.rax + 4, Math.floor(result / 4294967296) >>> 0);
  }
}
