import { expect, test } from "vitest";
import { CpuModel } from "../cpu/model.ts";
import { notBuiltNotes } from "./not-built.ts";

const usual = new CpuModel().features;
const note = (encoding: string, count = 1) => notBuiltNotes([new Map([[encoding, count]])], usual);

test("nothing met, nothing said", async () => {
  expect(await notBuiltNotes([new Map(), new Map()], usual)).toEqual([]);
});

// VEX.128.66.0F.WIG FE /r (SDM vol. 2B, PADDB/PADDW/PADDD/PADDQ), 66 0F 38 DC /r (vol. 2A, AESENC).
test.each([
  ["64:c5f9fec1", "VPADDD"],
  ["32:c5f9fec1", "VPADDD"],
  ["64:660f38dcc1", "AESENC"],
  ["64:62f17d08fec1", "VPADDD"],
])("%s is named after the manual: %s", async (encoding, name) => {
  expect(await note(encoding)).toEqual([`instruction not built: ${name} (met once by CPU 0), it raised #UD`]);
});

// 0F 0A, 0F 24 (vol. 2D, table A-3: empty), D6 in 64-bit mode (table A-2: empty).
test.each(["64:0f0a", "64:0f24", "64:d6"])("%s is undefined by the manual: no note", async encoding => {
  expect(await note(encoding)).toEqual([]);
});

test("encodings of one instruction are one note, with counts by CPU", async () => {
  const first = new Map([
    ["64:c5f9fec1", 3],
    ["64:c5f9fec2", 1],
  ]);
  const third = new Map([["64:c5f9fec1", 1]]);
  expect(await notBuiltNotes([first, new Map(), third], usual)).toEqual([
    "instruction not built: VPADDD (met 4 times by CPU 0, once by CPU 2), it raised #UD",
  ]);
});

test("an instruction of a feature that is switched off says how to get it", async () => {
  // 0F 38 F0 /r (vol. 2B, MOVBE).
  const movbe = [new Map([["64:0f38f0", 2]])];
  expect(await notBuiltNotes(movbe, usual)).toEqual([
    "instruction switched off: MOVBE (met twice by CPU 0), it raised #UD; --cpu-feature +movbe has it",
  ]);
  // F3 0F B8 /r (vol. 2B, POPCNT).
  const popcnt = [new Map([["64:f30fb8c1", 1]])];
  expect(await notBuiltNotes(popcnt, new CpuModel("GenuineIntel", ["-popcnt"]).features)).toEqual([
    "instruction switched off: POPCNT (met once by CPU 0), it raised #UD; --cpu-feature +popcnt has it",
  ]);
  // VEX.LZ.0F38.W0 F2 /r (vol. 2A, ANDN: BMI1): no VEX encoding is built.
  expect(await note("64:c4e278f2c1")).toEqual(["instruction not built: ANDN (met once by CPU 0), it raised #UD"]);
});

test("prefixes are not names, names of ours are", async () => {
  // F3 0F C7 /7 (vol. 2B, RDPID), with a REX prefix.
  expect(await note("64:f3480fc7f8")).toEqual(["instruction not built: RDPID (met once by CPU 0), it raised #UD"]);
  expect(await note("xsaveopt")).toEqual(["instruction not built: XSAVEOPT (met once by CPU 0), it raised #UD"]);
});
