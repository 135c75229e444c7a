/** What is delivered through the IDT. The first four agree with SOFTWARE_INT of helper-ports.ts. */
import { FLAG } from "../state.ts";

export const KIND = {
  softwareInt: 0,
  int3: 1,
  into: 2,
  int1: 3,
  external: 4,
  nmi: 5,
  /** An exception that is reported before its instruction: RF is 1 in the saved flags (SDM vol. 3B, 18.3.1.1). */
  fault: 6,
  /** An exception that is reported after its instruction; also #DB for an instruction breakpoint, whose saved RF is not set. */
  trap: 7,
} as const;

/** EXT of error codes: 0 for INT n, INT3 and INTO (SDM vol. 2, "INT n", definition of EXT). */
export const extOf = (kind: number): number => (kind <= KIND.into ? 0 : 1);
/** The gate's DPL is compared with CPL. */
export const checksDpl = (kind: number): boolean => kind <= KIND.into;
/** Error code that names an IDT entry (SDM vol. 3A, 6.13). */
export const idtError = (vector: number, ext: number): number => vector * 8 + 2 + ext;
/** Flags that delivery through a protected-mode gate clears, besides IF for interrupt gates. */
export const CLEARED = FLAG.tf | FLAG.nt | FLAG.rf | FLAG.vm;
