import fc from "fast-check";
import { expect, test } from "vitest";
import { GIB } from "../base/units.ts";
import { PAGE_KIND } from "../ports/cpu-bus.ts";
import type { Window } from "../ports/window.ts";
import { AddressSpace } from "./address-space.ts";
import { Ram } from "./ram.ts";

const BASE = 0x2000;
const make = (pages = 16): AddressSpace =>
  new AddressSpace(new Ram(new ArrayBuffer(BASE + pages * 4096), BASE, pages * 4096));

class Constant implements Window {
  readonly name: string;
  readonly size: number;
  readonly minWidth = 1;
  readonly maxWidth = 4;
  written: [number, number, number][] = [];
  constructor(name: string, size: number) {
    this.name = name;
    this.size = size;
  }
  read(offset: number, width: number): number {
    return (0x80 + offset) & (width === 1 ? 0xff : 0xffff);
  }
  write(offset: number, width: number, value: number): void {
    this.written.push([offset, width, value]);
  }
  describe(offset: number): string {
    return `R${offset}`;
  }
}

test("an address that nothing answers reads all-ones and swallows writes", () => {
  const space = make();
  expect(space.read(0x1_0000_0000, 1)).toBe(0xff);
  expect(space.read(0x5, 2)).toBe(0xffff);
  expect(space.read(0x5, 3)).toBe(0xffffff);
  expect(space.read(0x5, 4)).toBe(0xffffffff);
  expect(space.readPair(0x5, 8)).toBe(0xffffffff);
  expect(space.high).toBe(0xffffffff);
  space.write(0x5, 4, 0);
  expect(space.lookup(0)).toBe(PAGE_KIND.open);
});

test("1 to 8 bytes at any alignment equal bytes one by one, over the borders of RAM, ROM and open bus", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0xff0, max: 0x4010 }),
      fc.integer({ min: 1, max: 8 }),
      fc.nat(0xffffffff),
      fc.nat(0xffffffff),
      (address, width, low, high) => {
        const space = make();
        for (let i = 0; i < space.ram.size; i++) space.ram.bytes[i] = i * 7;
        space.mapRam("ram", 0x1000, 0x1003, 0);
        space.mapRom("rom", 0x2003, 0x1000, 0x4000);
        space.mapRam("ram2", 0x3003, 0x900, 0x8000);
        const byteAt = (a: number): number => {
          if (a >= 0x1000 && a < 0x2003) return ((a - 0x1000) * 7) & 0xff;
          if (a >= 0x2003 && a < 0x3003) return ((a - 0x2003 + 0x4000) * 7) & 0xff;
          if (a >= 0x3003 && a < 0x3903) return ((a - 0x3003 + 0x8000) * 7) & 0xff;
          return 0xff;
        };
        const word = (n: number, from: number): number => {
          let value = 0;
          for (let i = n - 1; i >= 0; i--) value = value * 256 + byteAt(address + from + i);
          return value;
        };
        expect(space.readPair(address, width)).toBe(word(Math.min(width, 4), 0));
        if (width > 4) expect(space.high).toBe(word(width - 4, 4));
        space.writePair(address, width, low, high);
        for (let i = 0; i < width; i++) {
          const a = address + i;
          const written = (a >= 0x1000 && a < 0x2003) || (a >= 0x3003 && a < 0x3903);
          const given = Math.floor((i < 4 ? low : high) / 256 ** (i % 4)) % 256;
          expect(space.read(a, 1)).toBe(written ? given : byteAt(a));
        }
      },
    ),
  );
});

test("regions of 1 byte and of 64 GiB answer at their first and last byte", () => {
  const space = make();
  const small = new Constant("small", 1);
  space.mapWindow(small, 0x1234567);
  space.mapWindow(new Constant("large", 64 * GIB), 128 * GIB);
  expect(space.read(0x1234567, 1)).toBe(0x80);
  expect(space.read(0x1234566, 4)).toBe(0xffff80ff);
  expect(space.read(128 * GIB, 1)).toBe(0x80);
  expect(space.read(192 * GIB - 1, 1)).toBe(0x7f);
  expect(space.read(192 * GIB, 1)).toBe(0xff);
  expect(() => space.mapWindow(new Constant("too large", 64 * GIB + 1), 512 * GIB)).toThrow(/size/);
});

test("overlap is refused unless a priority decides", () => {
  const space = make();
  space.mapRam("ram", 0, 0x4000, 0);
  const window = new Constant("window", 0x800);
  expect(() => space.mapWindow(window, 0x3fff)).toThrow(/overlaps ram/);
  const region = space.mapWindow(window, 0x1400, 1);
  space.ram.write(0x13ff, 4, 0x01020304);
  expect(space.read(0x13ff, 1)).toBe(0x04);
  expect(space.read(0x1400, 1)).toBe(0x80);
  expect(space.read(0x1c00, 1)).toBe(0);
  space.unmap(region);
  expect(space.read(0x1400, 1)).toBe(0x03);
});

test("a page that is not wholly one thing is a window; RAM and ROM pages tell where they lie", () => {
  const space = make();
  space.mapRam("ram", 0, 0x4000, 0);
  space.mapRom("rom", 0x10000, 0x1000, 0x5000);
  space.mapWindow(new Constant("w", 0x10), 0x2ff0, 1);
  expect(space.lookup(1)).toBe(PAGE_KIND.ram);
  expect(space.pageOffset).toBe(BASE + 0x1000);
  expect(space.lookup(2)).toBe(PAGE_KIND.window);
  expect(space.lookup(0x10)).toBe(PAGE_KIND.rom);
  expect(space.pageOffset).toBe(BASE + 0x5000);
  expect(space.lookup(0x11)).toBe(PAGE_KIND.open);
});

test("moving a region moves its answers and grows the generation", () => {
  const space = make();
  const region = space.mapWindow(new Constant("bar", 0x1000), 0xe000_0000);
  const before = space.generation;
  space.remap(region, 0x9_0000_0000);
  expect(space.generation).toBeGreaterThan(before);
  expect(space.read(0xe000_0000, 1)).toBe(0xff);
  expect(space.read(0x9_0000_0001, 1)).toBe(0x81);
  expect(space.describe(0x9_0000_0001)).toBe("bar.R1");
});

test("closed A20 holds address line 20 low and leaves the others alone", () => {
  const space = make();
  const before = space.generation;
  space.setA20(false);
  expect(space.generation).toBeGreaterThan(before);
  expect(space.throughA20(0x10_0000)).toBe(0);
  expect(space.throughA20(0x1f_ffff)).toBe(0xf_ffff);
  expect(space.throughA20(0x2f_ffff)).toBe(0x2f_ffff);
  expect(space.throughA20(0x1_0030_0004)).toBe(0x1_0020_0004);
  space.setA20(true);
  expect(space.throughA20(0x10_0000)).toBe(0x10_0000);
});

test("block copies cross regions, tell about open bus and invalidate code", () => {
  const space = make();
  const stale: number[] = [];
  space.ram.onInvalidate(page => stale.push(page));
  space.ram.codePages.fill(1);
  space.mapRam("a", 0, 0x1000, 0x3000);
  space.mapRam("b", 0x1000, 0x1000, 0);
  const data = Uint8Array.from({ length: 0x20 }, (_, i) => i + 1);
  expect(space.writeBlock(0xff0, data, 0, 0x20)).toBe(true);
  expect(stale).toEqual([3, 0]);
  const back = new Uint8Array(0x20);
  expect(space.readBlock(0xff0, back, 0, 0x20)).toBe(true);
  expect([...back]).toEqual([...data]);
  expect(space.writeBlock(0x1ff0, data, 0, 0x20)).toBe(false);
  expect(space.readBlock(0x1ff0, back, 0, 0x20)).toBe(false);
  expect(back[0x0f]).toBe(0x10);
  expect(back[0x10]).toBe(0xff);
});

test("a block copy to a window uses doublewords where they are aligned", () => {
  const space = make();
  const window = new Constant("w", 0x10);
  space.mapWindow(window, 0x8000);
  space.writeBlock(0x8003, Uint8Array.from([1, 2, 3, 4, 5, 6]), 0, 6);
  expect(window.written).toEqual([
    [3, 1, 1],
    [4, 4, 0x05040302],
    [8, 1, 6],
  ]);
});
