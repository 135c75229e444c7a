/**
 * The environment of one floating-point operation: rounding, precision, masks in; flags and result out.
 *
 * Document: Intel SDM vol 1 sections 4.8 (formats, NaNs), 4.9 (exceptions), 8.1.5 (x87 control word), 10.2.3 (MXCSR).
 * The flag and mask bits have the order that the x87 status word, the x87 control word and MXCSR share.
 *
 * How values cross the interface: a binary32 is one 32-bit word, a binary64 is (hi, lo), an 80-bit extended is
 * (se, hi, lo) with se = sign and exponent in 16 bits. Words are accepted signed or unsigned; the words of a result are
 * 32-bit patterns held as SIGNED integers (`| 0`), so that they stay small integers in the host's engine; `>>> 0` where
 * an unsigned reading is needed. `outSe` is 0..0xFFFF.
 */

/** Invalid operation. */
export const IE = 1;
/** Denormal operand. */
export const DE = 2;
/** Division by zero. */
export const ZE = 4;
/** Overflow. */
export const OE = 8;
/** Underflow. */
export const UE = 16;
/** Precision (inexact result). */
export const PE = 32;
/** The exceptions found before the operation computes anything; unmasked, they stop it (SDM vol 1 section 4.9.2). */
export const PRE_COMPUTATION = IE | DE | ZE;
/** Flags or masks of all six exceptions. */
export const ALL_EXCEPTIONS = 63;

/** Round to nearest, ties to even. The four values are the RC fields of the x87 control word and of MXCSR. */
export const ROUND_NEAREST = 0;
/** Round toward minus infinity. */
export const ROUND_DOWN = 1;
/** Round toward plus infinity. */
export const ROUND_UP = 2;
/** Round toward zero. */
export const ROUND_ZERO = 3;

/** Result of a compare: first operand greater. */
export const GREATER = 1;
/** Result of a compare: equal. */
export const EQUAL = 0;
/** Result of a compare: first operand less. */
export const LESS = -1;
/** Result of a compare: at least one operand is not a number. */
export const UNORDERED = 2;

/** Inputs and outputs of an operation. One object serves any number of operations, one after the other. */
export class FloatEnv {
  /** Rounding mode, 0 to 3 as in RC. */
  rounding: number = ROUND_NEAREST;
  /** Significand bits of x87 add, subtract, multiply, divide and square root: 24, 53 or 64. */
  precision = 64;
  /** A set bit masks the exception (as in the control word and, shifted right by 7, in MXCSR). */
  masks: number = ALL_EXCEPTIONS;
  /** Flush tiny results to zero (SSE; acts only while underflow is masked). */
  ftz = false;
  /** Read denormal operands as zeros (SSE). */
  daz = false;
  /** Exceptions of the operations since the caller last cleared it. */
  flags = 0;
  /** 1 when the last rounding increased the magnitude (C1 of the x87). */
  roundedUp = 0;
  /** 1 when the operation has no result, because an exception that the caller has unmasked prevents one. */
  noResult = 0;
  /** High word of the result (the only word of a binary32 or 32-bit integer is in outLo). */
  outHi = 0;
  /** Low word of the result. */
  outLo = 0;
  /** Sign and exponent of an 80-bit result. */
  outSe = 0;
  /** Quotient bits of a remainder (the low three bits are valid when the reduction is complete). */
  quotient = 0;
  /** 1 when a remainder was only partly reduced (C2 of the x87). */
  partial = 0;

  /** Takes rounding, masks, FTZ and DAZ from an MXCSR value. Flags are left alone. */
  fromMxcsr(mxcsr: number): void {
    this.rounding = (mxcsr >>> 13) & 3;
    this.masks = (mxcsr >>> 7) & ALL_EXCEPTIONS;
    this.ftz = (mxcsr & 0x8000) !== 0;
    this.daz = (mxcsr & 0x40) !== 0;
  }

  /** Takes rounding, precision and masks from an x87 control word (SDM vol 1 section 8.1.5). Flags are left alone. */
  fromControlWord(fcw: number): void {
    this.rounding = (fcw >>> 10) & 3;
    const pc = (fcw >>> 8) & 3;
    // PC = 01 is reserved; processors treat it as extended precision.
    this.precision = pc === 0 ? 24 : pc === 2 ? 53 : 64;
    this.masks = fcw & ALL_EXCEPTIONS;
    this.ftz = false;
    this.daz = false;
  }
}
