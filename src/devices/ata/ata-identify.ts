/**
 * The 512 bytes that IDENTIFY DEVICE and IDENTIFY PACKET DEVICE give: T13/1410D, 8.16 and 8.17.
 */
const WORDS = 256;
const INTEGRITY = 0xa5;

/** What both have. */
export type Identity = {
  /** 0 or 1. */
  readonly unit: number;
  readonly serial: string;
  readonly model: string;
  readonly dmaMode: number;
};

export const FIRMWARE = "1.0";
/** Versions: ATA-3 to ATA/ATAPI-6 (word 80). */
const VERSIONS = 0x0078;
/** Modes 0 to 2 of multiword DMA, modes 3 and 4 of PIO. */
const MULTIWORD = 0x07;
const ADVANCED_PIO = 0x03;
/** Nanoseconds per word. */
const CYCLE = 120;
const CYCLE_WITHOUT_IORDY = 240;

/** Words by number; the others are 0. */
export type Words = { readonly [word: number]: number };

/** Two characters a word, the first in the high byte, blanks at the end. */
function putText(words: Uint16Array, first: number, count: number, text: string): void {
  const padded = text.padEnd(2 * count).slice(0, 2 * count);
  for (let i = 0; i < count; i++) words[first + i] = (padded.charCodeAt(2 * i) << 8) | padded.charCodeAt(2 * i + 1);
}

/** Which mode of a kind is selected, in the high byte; the supported ones in the low byte. */
function modes(supported: number, kind: number, dmaMode: number): number {
  const selected = (dmaMode & 0xf8) === kind ? 1 << (dmaMode & 7) : 0;
  return supported | (selected << 8);
}

/** @param ultra bits of the supported modes of Ultra DMA */
export function identifyData(identity: Identity, ultra: number, own: Words): Uint8Array {
  const words = new Uint16Array(WORDS);
  putText(words, 10, 10, identity.serial);
  putText(words, 23, 4, FIRMWARE);
  putText(words, 27, 20, identity.model);
  // DMA, LBA, IORDY, which can be disabled.
  words[49] = 0x0f00;
  words[50] = 0x4000;
  words[63] = modes(MULTIWORD, 0x20, identity.dmaMode);
  words[64] = ADVANCED_PIO;
  words[65] = words[66] = words[68] = CYCLE;
  words[67] = CYCLE_WITHOUT_IORDY;
  words[80] = VERSIONS;
  words[88] = modes(ultra, 0x40, identity.dmaMode);
  // A cable of 40 wires; jumpers say which device it is; it has passed its diagnostics.
  words[93] = identity.unit === 0 ? 0x400b : 0x4b00;
  for (const [word, value] of Object.entries(own)) words[Number(word)] = value;
  const bytes = new Uint8Array(2 * WORDS);
  for (let i = 0; i < WORDS; i++) {
    bytes[2 * i] = words[i]! & 0xff;
    bytes[2 * i + 1] = words[i]! >> 8;
  }
  bytes[510] = INTEGRITY;
  // The sum of all bytes is 0.
  let sum = 0;
  for (let i = 0; i < 511; i++) sum += bytes[i]!;
  bytes[511] = -sum & 0xff;
  return bytes;
}
