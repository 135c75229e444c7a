/** Division of 128 by 64 bits when the dividend does not fit 64 bits (Intel SDM vol. 2, DIV and IDIV): rare, so with BigInt. */
import { DONE, EXC, type HelperTable, raise, type CpuContext } from "./context.ts";
import * as L from "./layout.ts";

const RAX = L.GPR;
const RDX = L.GPR + L.REG.rdx * 8;

export function divideHelpers(ctx: CpuContext): HelperTable {
  const s = ctx.state;
  const finish = (quotient: bigint, remainder: bigint): number => {
    s.setBig(RAX, BigInt.asUintN(64, quotient));
    s.setBig(RDX, BigInt.asUintN(64, remainder));
    return DONE.next;
  };
  return {
    // The divisor is at ARG0 and not 0.
    div128: () => {
      const dividend = (s.big(RDX) << 64n) | s.big(RAX);
      const divisor = s.big(L.ARG0);
      const quotient = dividend / divisor;
      if (quotient >> 64n !== 0n) raise(EXC.de);
      return finish(quotient, dividend % divisor);
    },
    idiv128: () => {
      const dividend = BigInt.asIntN(128, (s.big(RDX) << 64n) | s.big(RAX));
      const divisor = BigInt.asIntN(64, s.big(L.ARG0));
      const quotient = dividend / divisor;
      if (BigInt.asIntN(64, quotient) !== quotient) raise(EXC.de);
      return finish(quotient, dividend % divisor);
    },
    divide_error: () => raise(EXC.de),
  };
}
