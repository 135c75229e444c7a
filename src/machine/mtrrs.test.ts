/** Intel SDM vol. 3A, 11.11.4.1 "MTRR Precedences" and 11.11.2 (fixed and variable ranges), read as a slow model. */
import { expect, test } from "vitest";
import { mtrrOffset, writeMtrr } from "../cpu/system/mtrr.ts";
import { CpuFixture } from "../cpu/cpu-fixture.ts";
import { PHYSICAL_BITS } from "../cpu/system/control-bits.ts";
import { firmwareMtrrs } from "./mtrrs.ts";

const values = firmwareMtrrs(PHYSICAL_BITS);
const msr = (index: number): bigint => {
  const [, low, high] = values.find(([i]) => i === index)!;
  return (BigInt(high) << 32n) | BigInt(low);
};

/** Memory type of an address: fixed ranges below 1 MiB, else a variable range, else the default. */
function typeOf(address: bigint): number {
  const byte = (index: number, n: bigint): number => Number((msr(index) >> (n * 8n)) & 0xffn);
  if (address < 0x80000n) return byte(0x250, address >> 16n);
  if (address < 0xa0000n) return byte(0x258, (address - 0x80000n) >> 14n);
  if (address < 0xc0000n) return byte(0x259, (address - 0xa0000n) >> 14n);
  if (address < 0x100000n) return byte(0x268 + Number((address - 0xc0000n) >> 15n), ((address - 0xc0000n) >> 12n) & 7n);
  for (const base of [0x200, 0x202]) {
    const mask = msr(base + 1) & ~0xfffn;
    const matches = (msr(base + 1) & 0x800n) !== 0n && (address & mask) === (msr(base) & mask);
    if (matches) return Number(msr(base) & 0xffn);
  }
  return Number(msr(0x2ff) & 0xffn);
}

test("RAM is write-back, video memory and the devices below 4 GiB are uncached", () => {
  const writeBack = [0x0n, 0x9ffffn, 0xf0000n, 0x100000n, 0xafffffffn, 0x100000000n, 0x1c0000000n];
  const uncached = [0xa0000n, 0xbffffn, 0xb0000000n, 0xbfffffffn, 0xc0000000n, 0xfec00000n, 0xfee00000n, 0xffffffffn];
  expect(writeBack.map(typeOf)).toEqual(writeBack.map(() => 6));
  expect(uncached.map(typeOf)).toEqual(uncached.map(() => 0));
});

test("MTRRs and fixed ranges are enabled: bits 11 and 10 of IA32_MTRR_DEF_TYPE", () => {
  expect(Number(msr(0x2ff)) & 0xc00).toBe(0xc00);
});

test("the processor accepts every one of them", () => {
  const { s } = new CpuFixture();
  for (const [index, low, high] of values) {
    expect(mtrrOffset(index)).toBeGreaterThanOrEqual(0);
    expect(writeMtrr(s, index, low, high)).toBe(true);
  }
});
