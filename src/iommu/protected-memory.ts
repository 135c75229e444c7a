/**
 * Protected memory regions: two ranges that bus masters must not touch while a system is being started. VT-d specification 11.4.17 to 11.4.21 (PMEN,
 * PLMBASE, PLMLIMIT, PHMBASE, PHMLIMIT). In force for requests that are not translated; those that are may be let through, and are.
 */
import type { PhysAddr } from "../base/units.ts";
import { PMEN, PROTECTED_UNIT } from "./vtd.regs.ts";

const WORD = 2 ** 32;
const LOW_BITS = (~(PROTECTED_UNIT - 1) & 0xffff_ffff) >>> 0;

export type ProtectedMemoryState = {
  enabled: boolean;
  /** PLMBASE, PLMLIMIT, and low and high words of PHMBASE and PHMLIMIT. */
  words: Uint32Array;
};

export class ProtectedMemory {
  readonly state: ProtectedMemoryState = { enabled: false, words: new Uint32Array(6) };
  readonly #highBits: number;

  constructor(hostBits: number) {
    this.#highBits = hostBits >= 64 ? 0xffff_ffff : 2 ** Math.max(hostBits - 32, 0) - 1;
  }

  reset(): void {
    this.state.enabled = false;
    this.state.words.fill(0);
  }

  get control(): number {
    return this.state.enabled ? (PMEN.enable.mask | PMEN.status.mask) >>> 0 : 0;
  }

  set control(value: number) {
    this.state.enabled = PMEN.enable.on(value);
  }

  /** @param index word behind PMEN */
  read(index: number): number {
    return this.state.words[index]!;
  }

  /** Bits below 2 MiB and above the host's addresses are not there. */
  write(index: number, value: number): void {
    const isHigh = index === 3 || index === 5;
    this.state.words[index] = value & (isHigh ? this.#highBits : LOW_BITS);
  }

  /** How many of `length` bytes from `address` may be touched, before the first that may not. */
  open(address: PhysAddr, length: number): number {
    if (!this.state.enabled) return Math.max(length, 1);
    const w = this.state.words;
    const low = openBefore(address, Math.max(length, 1), w[0]!, w[1]!);
    return openBefore(address, low, w[3]! * WORD + w[2]!, w[5]! * WORD + w[4]!);
  }
}

/** A range whose base lies above its limit is empty; the limit's lower bits count as ones. */
function openBefore(address: PhysAddr, length: number, base: PhysAddr, limit: PhysAddr): number {
  const end = limit + PROTECTED_UNIT;
  if (base > limit || address >= end || address + length <= base) return length;
  return address >= base ? 0 : base - address;
}
