import { expect, test } from "vitest";
import { Ram } from "./ram.ts";

const make = (): Ram => new Ram(new ArrayBuffer(0x6000), 0x1000, 0x4000);

test("a value is stored least significant byte first (SDM vol. 1, 1.3.1 bit and byte order)", () => {
  const ram = make();
  ram.write(0x123, 4, 0x81223344);
  expect([...ram.bytes.subarray(0x123, 0x127)]).toEqual([0x44, 0x33, 0x22, 0x81]);
  expect(ram.read(0x123, 4)).toBe(0x81223344);
  expect(ram.read(0x124, 3)).toBe(0x812233);
  expect(ram.read(0x125, 2)).toBe(0x8122);
  expect(ram.read(0x126, 1)).toBe(0x81);
});

test("a narrow write leaves its neighbours alone", () => {
  const ram = make();
  ram.fill(0, 16, 0x55);
  ram.write(5, 2, 0x1_abcd);
  expect([...ram.bytes.subarray(4, 8)]).toEqual([0x55, 0xcd, 0xab, 0x55]);
});

test("every page of decoded code that a write touches is invalidated once, others are not", () => {
  const ram = make();
  const stale: number[] = [];
  ram.onInvalidate(page => stale.push(page));
  ram.codePages.fill(1);
  ram.write(0xffe, 4, 0);
  ram.write(0xffe, 4, 0);
  expect(stale).toEqual([0, 1]);
  ram.copyIn(0x2fff, new Uint8Array(1), 0, 1);
  ram.fill(0x3000, 0);
  expect(stale).toEqual([0, 1, 2]);
  expect([...ram.codePages]).toEqual([0, 0, 0, 1]);
});

test("RAM lies at its base inside the shared buffer", () => {
  const ram = make();
  ram.write(0, 1, 0xaa);
  expect(new Uint8Array(ram.buffer)[0x1000]).toBe(0xaa);
});
