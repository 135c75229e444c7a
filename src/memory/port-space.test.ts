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
