/**
 * The records that harness.c reads and writes, and where it puts code and data: the same addresses in the emulator.
 */
export const CODE = 0x200000;
export const CODE_BYTES = 0x2000;
/** Where the instruction lies. */
export const START = CODE + 0x800;
export const DATA = 0x210000;
export const DATA_BYTES = 0x2000;
/** The bytes that a case fills: around the boundary of the two data pages. */
export const WINDOW = DATA + 0xf80;
export const WINDOW_BYTES = 256;

/** Byte offsets of a case. */
export const IN = {
  code: 0,
  gpr: 16,
  flags: 144,
  mxcsr: 152,
  /** OPTION bits. */
  options: 156,
  xmm: 160,
  st: 416,
  data: 544,
  size: 800,
} as const;

/** Byte offsets of a result. */
export const OUT = {
  gpr: 0,
  rip: 128,
  flags: 136,
  cr2: 144,
  /** Exception vector; 3 when the instruction retired. */
  vector: 152,
  error: 156,
  mxcsr: 160,
  status: 164,
  /** One bit per physical register that is not empty. */
  tags: 166,
  /** Sum over the data pages without the window: not 0 when something was written there. */
  stray: 168,
  xmm: 176,
  st: 432,
  data: 560,
  size: 816,
} as const;
export const RETIRED = 3;

/** ES is the segment of the data area; 16-bit code. */
export const OPTION = { es: 1, code16: 2 } as const;

/** Code size: 64-bit mode, or protected mode with 32- or 16-bit segments. In 16-bit code the segments begin at CODE and DATA, else at 0. */
export type Bits = 16 | 32 | 64;
export const codeBase = (bits: Bits): number => (bits === 16 ? CODE : 0);
export const dataBase = (bits: Bits): number => (bits === 16 ? DATA : 0);
