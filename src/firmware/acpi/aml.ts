/**
 * Builds ACPI Machine Language (ACPI 6.5, chapter 20 "AML Specification"): each function returns the bytes of one object. Only what this board's tables
 * need; names are written as in ASL (`\_SB.PCI0`).
 */
import { assert } from "../../base/assert.ts";

export type Aml = readonly number[];

const OP = {
  zero: 0x00,
  one: 0x01,
  name: 0x08,
  byte: 0x0a,
  word: 0x0b,
  dword: 0x0c,
  string: 0x0d,
  qword: 0x0e,
  scope: 0x10,
  buffer: 0x11,
  package: 0x12,
  method: 0x14,
  dualName: 0x2e,
  multiName: 0x2f,
  extended: 0x5b,
  root: 0x5c,
  local0: 0x60,
  arg0: 0x68,
  store: 0x70,
  and: 0x7b,
  or: 0x7d,
  device: 0x82,
  dwordField: 0x8a,
  not: 0x92,
  equal: 0x93,
  if: 0xa0,
  else: 0xa1,
  return: 0xa4,
} as const;

const ascii = (text: string): number[] => [...text].map(c => c.charCodeAt(0));

/** `count` bytes, little endian. */
export function le(value: number, count: number): number[] {
  const bytes: number[] = [];
  for (let i = 0; i < count; i++) {
    bytes.push(value % 256);
    value = Math.floor(value / 256);
  }
  return bytes;
}

/** NameString (20.2.2). */
export function path(text: string): Aml {
  const rooted = text.startsWith("\\");
  const segments = (rooted ? text.slice(1) : text).split(".").filter(s => s !== "");
  for (const s of segments) assert(/^[A-Z_][A-Z0-9_]{0,3}$/.test(s), `"${text}" is no AML name`);
  const bytes = segments.flatMap(s => ascii(s.padEnd(4, "_")));
  const root = rooted ? [OP.root] : [];
  if (segments.length === 0) return [...root, OP.zero];
  if (segments.length === 1) return [...root, ...bytes];
  if (segments.length === 2) return [...root, OP.dualName, ...bytes];
  return [...root, OP.multiName, segments.length, ...bytes];
}

/** PkgLength and what it covers (20.2.4): one byte up to 63, else the low nibble in the lead byte and 1 to 3 bytes behind it. The length counts itself. */
function pack(content: Aml): Aml {
  if (content.length + 1 <= 0x3f) return [content.length + 1, ...content];
  for (let follow = 1; follow <= 3; follow++) {
    const length = content.length + 1 + follow;
    if (length < 1 << (4 + 8 * follow))
      return [(follow << 6) | (length & 0xf), ...le(length >>> 4, follow), ...content];
  }
  assert(false, "AML package is too long");
  return [];
}

/** Integers below 2^53, in the shortest encoding (20.2.3). */
export function integer(value: number): Aml {
  if (value === 0) return [OP.zero];
  if (value === 1) return [OP.one];
  if (value < 0x100) return [OP.byte, value];
  if (value < 0x10000) return [OP.word, ...le(value, 2)];
  if (value < 0x100000000) return [OP.dword, ...le(value, 4)];
  return [OP.qword, ...le(value, 8)];
}

export const string = (text: string): Aml => [OP.string, ...ascii(text), 0];
export const name = (text: string, value: Aml): Aml => [OP.name, ...path(text), ...value];
export const scope = (text: string, ...terms: Aml[]): Aml => [OP.scope, ...pack([...path(text), ...terms.flat()])];
export const device = (text: string, ...terms: Aml[]): Aml => [
  OP.extended,
  OP.device,
  ...pack([...path(text), ...terms.flat()]),
];
export const packageOf = (...elements: Aml[]): Aml => [OP.package, ...pack([elements.length, ...elements.flat()])];
export const buffer = (bytes: Aml): Aml => [OP.buffer, ...pack([...integer(bytes.length), ...bytes])];
/** MethodFlags: SerializeFlag (20.2.5.2). */
const SERIALIZED = 1 << 3;
/** Not serialized. */
export const method = (text: string, args: number, ...terms: Aml[]): Aml => [
  OP.method,
  ...pack([...path(text), args, ...terms.flat()]),
];
/** A method that makes named objects, and so must not run twice at a time (19.6.85). */
export const serialized = (text: string, args: number, ...terms: Aml[]): Aml =>
  method(text, args | SERIALIZED, ...terms);
export const returns = (value: Aml): Aml => [OP.return, ...value];

// Terms of methods. Targets and operands are names ({@link path}), {@link arg} and {@link LOCAL0}.

/** The n-th argument of the method, from 0. */
export const arg = (n: number): Aml => [OP.arg0 + n];
export const LOCAL0: Aml = [OP.local0];
export const store = (value: Aml, target: Aml): Aml => [OP.store, ...value, ...target];
export const and = (a: Aml, b: Aml, target: Aml): Aml => [OP.and, ...a, ...b, ...target];
export const or = (a: Aml, b: Aml, target: Aml): Aml => [OP.or, ...a, ...b, ...target];
export const equal = (a: Aml, b: Aml): Aml => [OP.equal, ...a, ...b];
export const not = (a: Aml): Aml => [OP.not, ...a];
export const ifTrue = (predicate: Aml, ...terms: Aml[]): Aml => [OP.if, ...pack([...predicate, ...terms.flat()])];
/** Right behind an If. */
export const otherwise = (...terms: Aml[]): Aml => [OP.else, ...pack(terms.flat())];
/** Names the four bytes of a buffer from `offset` on. */
export const dwordField = (source: Aml, offset: number, text: string): Aml => [
  OP.dwordField,
  ...source,
  ...integer(offset),
  ...path(text),
];

/** ToUUID (19.6.142): a buffer of 16 bytes; the first three groups of digits have their bytes turned round. */
export function uuid(text: string): Aml {
  const groups = text.split("-").map(group => (group.match(/../g) ?? []).map(byte => Number.parseInt(byte, 16)));
  assert(groups.map(group => group.length).join() === "4,2,2,2,6", `"${text}" is no UUID`);
  return buffer(groups.flatMap((group, i) => (i < 3 ? group.reverse() : group)));
}

/** EISAID (19.6.37): three letters of 5 bits and four hexadecimal digits, in big-endian order. */
export function eisaId(id: string): Aml {
  assert(/^[A-Z]{3}[0-9A-F]{4}$/.test(id), `"${id}" is no EISA id`);
  const letters = ascii(id.slice(0, 3)).reduce((word, c) => (word << 5) | (c - 0x40), 0);
  const digits = Number.parseInt(id.slice(3), 16);
  return [OP.dword, letters >>> 8, letters & 0xff, digits >>> 8, digits & 0xff];
}

// Resource descriptors (6.4), collected in a template.

/** I/O port descriptor (6.4.2.5), 16-bit decode, fixed. */
export const ioPorts = (first: number, count: number): Aml => [0x47, 1, ...le(first, 2), ...le(first, 2), 1, count];
/** IRQ descriptor (6.4.2.1), edge-triggered, active high, exclusive. */
export const irq = (number: number): Aml => [0x22, ...le(1 << number, 2)];
/** 32-bit fixed memory range (6.4.3.4). */
export const memory32 = (base: number, size: number): Aml => [0x86, 9, 0, 1, ...le(base, 4), ...le(size, 4)];
/** Producer of a range, fixed at both ends (6.4.3.5: general flags _MIF and _MAF). */
const FIXED = 0x0c;
/** Word address space descriptor for bus numbers (6.4.3.5.3). */
export const busNumbers = (first: number, last: number): Aml => addressSpace(0x88, 2, 2, 0, first, last);
/** The same for I/O ports: all of the range, ISA and other. */
export const portRange = (first: number, last: number): Aml => addressSpace(0x88, 2, 1, 3, first, last);
/** Double word address space descriptor (6.4.3.5.2): memory, read and write, not cacheable. */
export const memoryRange = (first: number, last: number): Aml => addressSpace(0x87, 4, 0, 1, first, last);

/** Granularity, first, last, translation, length, each of `width` bytes. */
function addressSpace(tag: number, width: number, type: number, flags: number, first: number, last: number): Aml {
  const values = [0, first, last, 0, last - first + 1].flatMap(value => le(value, width));
  return [tag, ...le(3 + values.length, 2), type, FIXED, flags, ...values];
}

/** End tag with checksum 0: "treated as if the checksum operation succeeded" (6.4.2.9). */
export const resources = (...descriptors: Aml[]): Aml => buffer([...descriptors.flat(), 0x79, 0]);
