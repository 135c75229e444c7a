/**
 * The Sound Blaster 16's ports and mixer registers (Creative, "Sound Blaster Series Hardware Programming Guide": chapter 2 "DSP", chapter 4 "CT1745
 * mixer", chapter 6 "DSP commands").
 */
import { layout } from "../base/layout.ts";

/** Offsets from 0x220. */
export const SB = {
  mixerAddress: 0x4,
  mixerData: 0x5,
  reset: 0x6,
  read: 0xa,
  /** Write: command or data. Read: bit 7 is 0 when one may be written. */
  write: 0xc,
  /** Bit 7: data waits; the read acknowledges the 8-bit interrupt. */
  readStatus: 0xe,
  /** The read acknowledges the 16-bit interrupt. */
  acknowledge16: 0xf,
} as const;

export const SB_READY = 0xaa;
/** Version 4.05, the SB16's. */
export const SB_VERSION = [4, 5] as const;

export const MIXER = { reset: 0x00, interruptSetup: 0x80, dmaSetup: 0x81, interruptStatus: 0x82 } as const;
/** By bit of the interrupt set-up register. The ISA bus has interrupt 9 at the place of 2. */
export const SB_IRQS: readonly number[] = [9, 5, 7, 10];
/** By bit of the DMA set-up register: number of the channel, −1 where there is none. */
export const SB_CHANNELS: readonly number[] = [0, 1, -1, 3, -1, 5, 6, 7];
export const SB_STATUS = layout("SB16 interrupt status", 8, { dma8: 0, dma16: 1 });

/** Second byte of commands Bxh and Cxh. */
export const SB_MODE = layout("SB16 transfer mode", 8, { signed: 4, stereo: 5 });
/** First byte of these. */
export const SB_TRANSFER = layout("SB16 transfer command", 8, { fifo: 1, autoInitialize: 2, input: 3, kind: [7, 4] });

/** Mixer registers and their values after a reset; others do not exist. */
export const MIXER_RESET: readonly (readonly [number, number])[] = [
  ...[0x30, 0x31, 0x32, 0x33, 0x34, 0x35].map(register => [register, 0xc0] as const),
  ...[0x36, 0x37, 0x38, 0x39, 0x3a, 0x3b].map(register => [register, 0] as const),
  [0x3c, 0x1f],
  [0x3d, 0x15],
  [0x3e, 0x0b],
  ...[0x3f, 0x40, 0x41, 0x42, 0x43].map(register => [register, 0] as const),
  ...[0x44, 0x45, 0x46, 0x47].map(register => [register, 0x80] as const),
];
/** Registers of the Sound Blaster Pro: the left and right register that hold their two halves. */
export const MIXER_PRO: { readonly [register: number]: readonly [number, number] } = {
  4: [0x32, 0x33],
  34: [0x30, 0x31],
  38: [0x34, 0x35],
  40: [0x36, 0x37],
  46: [0x38, 0x39],
};
/** Volumes with five bits in 7-3, with two bits in 7-6, with four in 7-4. */
export const MIXER_MASK = (register: number): number =>
  register <= 0x3a
    ? 0xf8
    : register === 0x3b || (register >= 0x3f && register <= 0x42)
      ? 0xc0
      : register === 0x3c
        ? 0x1f
        : register <= 0x3e
          ? 0x7f
          : register === 0x43
            ? 1
            : 0xf0;

/** Parameter bytes of the DSP's commands; those that are not here have none. */
export function parametersOf(command: number): number {
  if (command >= 0xb0 && command < 0xd0) return 3;
  return PARAMETERS[command] ?? 0;
}
const PARAMETERS: { readonly [command: number]: number } = {
  ...{ 16: 1, 20: 2, 22: 2, 23: 2, 36: 2, 56: 1, 64: 1, 65: 2, 66: 2, 72: 2 },
  ...{ 116: 2, 117: 2, 118: 2, 119: 2, 128: 2, 224: 1, 226: 1, 228: 1 },
};
