/**
 * Compare, minimum and maximum of unpacked numbers.
 *
 * Document: Intel SDM vol 2 FCOM, FUCOM, COMISS, UCOMISS, CMPPS, MINPS, MAXPS.
 */
import { DE, EQUAL, type FloatEnv, GREATER, IE, LESS, UNORDERED } from "./float-env.ts";
import { NAN, SNAN, type Unpacked, ZERO } from "./softfloat-unpack.ts";

/**
 * Compares a with b: LESS, EQUAL, GREATER or UNORDERED. signalling: a quiet NaN raises IE as well (COMISS, FCOM);
 * otherwise only a signalling NaN or an unsupported encoding does (UCOMISS, FUCOM). Zeros of either sign are equal.
 */
export function compareUnpacked(env: FloatEnv, a: Unpacked, b: Unpacked, signalling: boolean): number {
  env.noResult = 0;
  env.roundedUp = 0;
  if (a.cls >= NAN || b.cls >= NAN) {
    if (signalling || a.cls >= SNAN || b.cls >= SNAN) {
      env.flags |= IE;
      if ((env.masks & IE) === 0) env.noResult = 1;
    }
    return UNORDERED;
  }
  if ((a.denormal | b.denormal) !== 0) {
    env.flags |= DE;
    if ((env.masks & DE) === 0) env.noResult = 1;
  }
  if (a.cls === ZERO && b.cls === ZERO) return EQUAL;
  if (a.cls === ZERO) return b.sign !== 0 ? GREATER : LESS;
  if (b.cls === ZERO || a.sign !== b.sign) return a.sign !== 0 ? LESS : GREATER;
  const magnitude = compareMagnitudes(a, b);
  return a.sign !== 0 ? -magnitude | 0 : magnitude;
}

function compareMagnitudes(a: Unpacked, b: Unpacked): number {
  if (a.cls !== b.cls) return a.cls < b.cls ? LESS : GREATER; // finite below infinite
  if (a.exp !== b.exp) return a.exp < b.exp ? LESS : GREATER;
  if (a.hi !== b.hi) return a.hi >>> 0 < b.hi >>> 0 ? LESS : GREATER;
  if (a.lo !== b.lo) return a.lo >>> 0 < b.lo >>> 0 ? LESS : GREATER;
  return EQUAL;
}

/**
 * Whether MIN (or MAX) gives its second operand: for any NaN (with IE, even a quiet one), for two zeros, for equal
 * operands, and when the second is the smaller (larger).
 */
export function takesSecond(env: FloatEnv, a: Unpacked, b: Unpacked, wantMax: boolean): boolean {
  const order = compareUnpacked(env, a, b, true);
  return order !== (wantMax ? GREATER : LESS);
}
