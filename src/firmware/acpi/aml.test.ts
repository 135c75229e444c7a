/** ACPI 6.5, chapter 20 "ACPI Machine Language (AML) Specification". Expected bytes are written out from its grammar. */
import { describe, expect, test } from "vitest";
import { ModelBug } from "../../base/assert.ts";
import {
  and,
  arg,
  buffer,
  busNumbers,
  device,
  dwordField,
  eisaId,
  equal,
  ifTrue,
  integer,
  ioPorts,
  irq,
  LOCAL0,
  memory32,
  memoryRange,
  method,
  name,
  not,
  or,
  otherwise,
  packageOf,
  path,
  portRange,
  resources,
  returns,
  scope,
  serialized,
  store,
  string,
  uuid,
} from "./aml.ts";

const chars = (text: string): number[] => [...text].map(c => c.charCodeAt(0));

describe("20.2.2 names", () => {
  test("a segment has four characters, padded with underscores", () => expect(path("PIC")).toEqual(chars("PIC_")));
  test("the root prefix", () => expect(path("\\_SB")).toEqual([0x5c, ...chars("_SB_")]));
  test("two segments: DualNamePrefix", () => expect(path("\\_SB.PCI0")).toEqual([0x5c, 0x2e, ...chars("_SB_PCI0")]));
  test("three segments: MultiNamePrefix and their count", () =>
    expect(path("A.B.C")).toEqual([0x2f, 3, ...chars("A___B___C___")]));
  test("what is no name is a mistake of ours", () => expect(() => path("1A")).toThrow(ModelBug));
});

describe("20.2.3 integers in the shortest form", () => {
  test.each<[number, number[]]>([
    [0, [0x00]],
    [1, [0x01]],
    [5, [0x0a, 5]],
    [0x1234, [0x0b, 0x34, 0x12]],
    [0xfed00000, [0x0c, 0x00, 0x00, 0xd0, 0xfe]],
    [0x100000000, [0x0e, 0, 0, 0, 0, 1, 0, 0, 0]],
  ])("%i", (value, bytes) => expect(integer(value)).toEqual(bytes));
});

describe("20.2.4 package length counts itself", () => {
  const lead = (bytes: number): number[] =>
    [
      ...scope(
        "\\",
        Array.from({ length: bytes }, () => 0xa3),
      ),
    ].slice(1, 4);
  // A scope of the root has a root character and a null name in front of its terms.
  test("up to 63 in one byte", () => expect(lead(60)[0]).toBe(63));
  test("64 needs two: low nibble and the byte above", () =>
    expect(lead(61).slice(0, 2)).toEqual([0x40 | (65 & 15), 65 >> 4]));
  test("4095 is the last that fits two bytes", () => expect(lead(4091).slice(0, 2)).toEqual([0x4f, 0xff]));
  test("4096 does not", () => expect(lead(4092)).toEqual([0x80 | (4097 & 15), (4097 >> 4) & 0xff, 4097 >> 12]));
});

describe("20.2.5 objects", () => {
  test("Name, Package", () =>
    expect(name("_S5", packageOf(integer(5), integer(0)))).toEqual([0x08, ...chars("_S5_"), 0x12, 5, 2, 0x0a, 5, 0]));
  test("Device", () =>
    expect(device("COM1", name("X", integer(1)))).toEqual([
      0x5b,
      0x82,
      11,
      ...chars("COM1"),
      0x08,
      ...chars("X___"),
      1,
    ]));
  test("Method with a Store", () =>
    expect(method("_PIC", 1, store(arg(0), path("PICM")))).toEqual([
      0x14,
      12,
      ...chars("_PIC"),
      1,
      0x70,
      0x68,
      ...chars("PICM"),
    ]));
  test("String, Buffer", () => {
    expect(string("AB")).toEqual([0x0d, 0x41, 0x42, 0]);
    expect(buffer([1, 2])).toEqual([0x11, 5, 0x0a, 2, 1, 2]);
  });
  test("19.6.37 EISAID: PNP0501 is 0x0105D041", () =>
    expect(eisaId("PNP0501")).toEqual([0x0c, 0x41, 0xd0, 0x05, 0x01]));
});

describe("20.2.5 terms of methods", () => {
  test("a serialized method: bit 3 of its flags, beside the number of arguments", () =>
    expect(serialized("_OSC", 4)).toEqual([0x14, 6, ...chars("_OSC"), 0x0c]));
  test("CreateDWordField: source, byte index, name", () =>
    expect(dwordField(arg(3), 8, "CDW3")).toEqual([0x8a, 0x6b, 0x0a, 8, ...chars("CDW3")]));
  test("And and Or have a target; LEqual and LNot have none", () => {
    expect(and(path("CDW3"), integer(0x1d), LOCAL0)).toEqual([0x7b, ...chars("CDW3"), 0x0a, 0x1d, 0x60]);
    expect(or(path("CDW1"), integer(4), path("CDW1"))).toEqual([0x7d, ...chars("CDW1"), 0x0a, 4, ...chars("CDW1")]);
    expect(not(equal(arg(1), integer(1)))).toEqual([0x92, 0x93, 0x69, 1]);
  });
  test("If and Else with their package lengths", () => {
    expect(ifTrue(arg(0), returns(integer(0)))).toEqual([0xa0, 4, 0x68, 0xa4, 0]);
    expect(otherwise(returns(integer(1)))).toEqual([0xa1, 3, 0xa4, 1]);
  });
  test("19.6.142 ToUUID: aabbccdd-eeff-gghh-iijj-kkllmmnnoopp is stored as dd cc bb aa ff ee hh gg ii jj kk ll mm nn oo pp", () => {
    const bytes = [0x4d, 0x3c, 0x2b, 0x1a, 0x6f, 0x5e, 0x81, 0x70, 0x92, 0xa3, 0xb4, 0xc5, 0xd6, 0xe7, 0xf8, 0x09];
    expect(uuid("1a2b3c4d-5e6f-7081-92a3-b4c5d6e7f809")).toEqual([0x11, 19, 0x0a, 16, ...bytes]);
    expect(() => uuid("1a2b3c4d-5e6f")).toThrow(ModelBug);
  });
});

describe("6.4 resource descriptors", () => {
  test("I/O port descriptor: 16-bit decode, from, to, alignment, length", () =>
    expect(ioPorts(0x3f8, 8)).toEqual([0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8]));
  test("IRQ descriptor: a mask", () => expect(irq(12)).toEqual([0x22, 0x00, 0x10]));
  test("32-bit fixed memory range", () =>
    expect(memory32(0xfed00000, 0x400)).toEqual([0x86, 9, 0, 1, 0, 0, 0xd0, 0xfe, 0, 4, 0, 0]));
  test("word and double word address space descriptors: length, type, fixed, type flags, granularity, first, last, translation, length", () => {
    expect(busNumbers(0, 255)).toEqual([0x88, 13, 0, 2, 0x0c, 0, 0, 0, 0, 0, 255, 0, 0, 0, 0, 1]);
    expect(portRange(0xd00, 0xffff)).toEqual([0x88, 13, 0, 1, 0x0c, 3, 0, 0, 0, 0x0d, 0xff, 0xff, 0, 0, 0, 0xf3]);
    const memory = [
      0x87, 23, 0, 0, 0x0c, 1, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff, 0xbf, 0xfe, 0, 0, 0, 0, 0, 0, 0xc0, 0x3e,
    ];
    expect(memoryRange(0xc0000000, 0xfebfffff)).toEqual(memory);
  });
  test("a template ends with the end tag", () =>
    expect(resources(irq(0))).toEqual([0x11, 8, 0x0a, 5, 0x22, 1, 0, 0x79, 0]));
});
