import { expect, test } from "vitest";
import type { Window } from "../ports/window.ts";
import { PortSpace } from "./port-space.ts";

class Echo implements Window {
  readonly name: string;
  readonly size: number;
  readonly minWidth = 1;
  readonly maxWidth: 1 | 2 | 4;
  readonly log: string[] = [];
  constructor(name: string, size: number, maxWidth: 1 | 2 | 4) {
    this.name = name;
    this.size = size;
    this.maxWidth = maxWidth;
  }
  read(offset: number, width: number): number {
    this.log.push(`r${width}@${offset}`);
    return offset;
  }
  write(offset: number, width: number, value: number): void {
    this.log.push(`w${width}@${offset}=${value.toString(16)}`);
  }
}

test("a port that nobody answers reads all-ones", () => {
  const ports = new PortSpace();
  expect([ports.read(0x300, 1), ports.read(0x300, 2), ports.read(0x300, 4)]).toEqual([0xff, 0xffff, 0xffffffff]);
  ports.write(0x300, 4, 0);
});

test("an access over several parts is split at their borders, lowest port first", () => {
  const ports = new PortSpace();
  const keyboard = new Echo("i8042", 5, 1);
  const control = new Echo("control", 1, 1);
  ports.map(keyboard, 0x60, { count: 1 });
  ports.map(control, 0x61);
  ports.map(keyboard, 0x64, { offset: 4 });
  ports.write(0x60, 4, 0x44332211);
  expect(keyboard.log).toEqual(["w1@0=11"]);
  expect(control.log).toEqual(["w1@0=22"]);
  expect(ports.read(0x63, 2)).toBe(0x04ff);
});

test("a part that takes words gets a word", () => {
  const ports = new PortSpace();
  const part = new Echo("wide", 8, 4);
  ports.map(part, 0x510);
  ports.write(0x510, 2, 0x1234);
  ports.read(0x514, 4);
  expect(part.log).toEqual(["w2@0=1234", "r4@4"]);
});

test("a port has one owner; the space ends at 0xFFFF", () => {
  const ports = new PortSpace();
  ports.map(new Echo("a", 4, 1), 0x40);
  expect(() => ports.map(new Echo("b", 1, 1), 0x43)).toThrow(/belongs to a/);
  expect(() => ports.map(new Echo("c", 2, 1), 0xffff)).toThrow(/out of range/);
  expect(ports.read(0xffff, 4)).toBe(0xffffffff);
  ports.write(0xffff, 4, 0);
});

test("an unmapped window leaves its ports open", () => {
  const ports = new PortSpace();
  const part = new Echo("a", 4, 1);
  ports.map(part, 0x40);
  ports.unmap(part);
  expect(ports.read(0x41, 1)).toBe(0xff);
  expect(ports.describe(0x41)).toBe("");
});

test("a claimed window answers where nobody else does, and moves; of two the first claimed one answers", () => {
  const ports = new PortSpace();
  const bytes = (name: string, value: number): Window => ({
    name,
    size: 8,
    minWidth: 1,
    maxWidth: 4,
    read: (_offset, width) => (width === 4 ? value * 0x01010101 : width === 2 ? value * 0x0101 : value),
    write: () => {},
  });
  ports.map(bytes("board", 0x11), 0x100);
  const first = ports.claim(bytes("first", 0x22));
  const second = ports.claim(bytes("second", 0x33));
  expect(ports.read(0x108, 1)).toBe(0xff);
  second.place(0x104);
  first.place(0x10a);
  expect([0x106, 0x108, 0x10a, 0x111, 0x112].map(port => ports.read(port, 1))).toEqual([0x11, 0x33, 0x22, 0x22, 0xff]);
  // Over the borders board, second, first.
  expect([ports.read(0x106, 4), ports.read(0x108, 4), ports.read(0x110, 4)]).toEqual([
    0x33331111, 0x22223333, 0xffff2222,
  ]);
  expect(ports.describe(0x10b)).toBe("first.0x1");
  first.remove();
  expect(ports.read(0x10a, 2)).toBe(0x3333);
  expect(() => second.place(0xfff9)).toThrow(/out of range/);
});
