/** ACPI 6.5, 5.2 "ACPI System Description Tables". Where iasl is installed, it disassembles every table and finds nothing to complain about. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { BOARD } from "../board.testing.ts";
import { firmwareTables } from "../firmware-tables.ts";

const { pieces, rsdp } = firmwareTables(BOARD);
const bytesOf = (what: string): Uint8Array => pieces.find(piece => piece.what === what)!.bytes;
const viewOf = (what: string): DataView => new DataView(bytesOf(what).buffer);
const at = (what: string): number => pieces.find(piece => piece.what === what)!.address;
const sum = (bytes: Uint8Array): number => bytes.reduce((a, b) => a + b, 0) & 0xff;
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const TABLES = ["DSDT", "FACP", "APIC", "HPET", "MCFG", "XSDT"];

test("5.2.5.3 the root pointer: signature on 16 bytes, both sums 0, revision 2, length 36, the XSDT's address", () => {
  const root = bytesOf("RSDP");
  expect(rsdp % 16).toBe(0);
  expect(text(root.subarray(0, 8))).toBe("RSD PTR ");
  expect([sum(root.subarray(0, 20)), sum(root), root[15], root.length]).toEqual([0, 0, 2, 36]);
  expect(viewOf("RSDP").getUint32(20, true)).toBe(36);
  expect(viewOf("RSDP").getUint32(24, true)).toBe(at("XSDT"));
});

test.each(TABLES)("5.2.6 %s: signature, length, sum 0", what => {
  const bytes = bytesOf(what);
  expect(text(bytes.subarray(0, 4))).toBe(what);
  expect(viewOf(what).getUint32(4, true)).toBe(bytes.length);
  expect(sum(bytes)).toBe(0);
});

test("5.2.8 the XSDT lists FADT, MADT, HPET and MCFG", () => {
  const view = viewOf("XSDT");
  const list = Array.from({ length: (view.byteLength - 36) / 8 }, (_, i) => view.getUint32(36 + i * 8, true));
  expect(list).toEqual([at("FACP"), at("APIC"), at("HPET"), at("MCFG")]);
});

test("5.2.9 the FADT: offsets 36 FACS, 40 and 140 DSDT, 46 SCI, 48 SMI command, ports of the PM block, 116 reset register", () => {
  const fadt = viewOf("FACP");
  const word = (offset: number): number => fadt.getUint32(offset, true);
  expect(fadt.byteLength).toBe(276);
  expect([word(36), word(40), word(140)]).toEqual([at("FACS"), at("DSDT"), at("DSDT")]);
  expect([fadt.getUint16(46, true), word(48), fadt.getUint8(52), fadt.getUint8(53)]).toEqual([9, 0xb2, 0xf1, 0xf0]);
  expect([word(56), word(64), word(76), word(80)]).toEqual([0x600, 0x604, 0x608, 0x620]);
  expect([88, 89, 91, 92].map(offset => fadt.getUint8(offset))).toEqual([4, 2, 4, 16]);
  expect(fadt.getUint8(108)).toBe(0x32);
  // The reset register is byte-wide in I/O space, and supported (flag 10); the PM timer has 24 bits (flag 8 clear).
  expect([fadt.getUint8(116), fadt.getUint8(117), word(120), fadt.getUint8(128)]).toEqual([1, 8, 0xcf9, 6]);
  expect(word(112) & (1 << 10)).not.toBe(0);
  expect(word(112) & (1 << 8)).toBe(0);
});

test("a board without HPET and PM timer has no HPET table, and a FADT with zeros for the timer (5.2.9, PM_TMR_BLK, PM_TMR_LEN, X_PM_TMR_BLK)", () => {
  const bare = firmwareTables({ ...BOARD, hpet: null, pmTimer: false }).pieces;
  expect(bare.map(piece => piece.what)).not.toContain("HPET");
  const fadt = bare.find(piece => piece.what === "FACP")!.bytes;
  expect([...fadt.slice(76, 80), fadt[91], ...fadt.slice(208, 220)]).toEqual(new Array(17).fill(0));
  // What stands beside it: the control block and general purpose events.
  const full = bytesOf("FACP");
  expect([...full.slice(208, 220)]).toEqual([1, 32, 0, 3, 0x08, 0x06, 0, 0, 0, 0, 0, 0]);
  expect([...fadt.slice(172, 184), ...fadt.slice(220, 232)]).toEqual([
    ...full.slice(172, 184),
    ...full.slice(220, 232),
  ]);
});

test("5.2.10 the FACS lies on 64 bytes", () => {
  expect(at("FACS") % 64).toBe(0);
  expect([text(bytesOf("FACS").subarray(0, 4)), bytesOf("FACS").length]).toEqual(["FACS", 64]);
});

describe("5.2.12 the MADT", () => {
  const madt = bytesOf("APIC");
  const entries: number[][] = [];
  for (let i = 44; i < madt.length; i += madt[i + 1]!) entries.push([...madt.slice(i, i + madt[i + 1]!)]);

  test("local APIC address, PCAT_COMPAT", () => {
    expect([viewOf("APIC").getUint32(36, true), viewOf("APIC").getUint32(40, true)]).toEqual([0xfee00000, 1]);
  });
  test("5.2.12.2 an enabled local APIC for each processor", () => {
    expect(entries.filter(e => e[0] === 0)).toEqual([0, 1, 2, 3].map(n => [0, 8, n, n, 1, 0, 0, 0]));
  });
  test("5.2.12.3 the I/O APIC from interrupt 0 on", () => {
    expect(entries).toContainEqual([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
  });
  test("5.2.12.5 the timer goes to input 2 as its bus does; the SCI is active high, level-triggered", () => {
    expect(entries.filter(e => e[0] === 2)).toEqual([
      [2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
      [2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0],
    ]);
  });
  test("5.2.12.7 NMI on LINT1 of all processors", () => {
    expect(entries).toContainEqual([4, 6, 0xff, 0, 0, 1]);
  });
  test("5.2.12.12 an id above 254 gets an entry of the x2APIC kind", () => {
    const far = firmwareTables({ ...BOARD, apicIds: [0, 300] }).pieces.find(piece => piece.what === "APIC")!.bytes;
    expect([...far.slice(52, 68)]).toEqual([9, 16, 0, 0, 0x2c, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
  });
});

test("IA-PC HPET 1.0a, 3.2.4: id and address", () => {
  expect([viewOf("HPET").getUint32(36, true), viewOf("HPET").getUint32(44, true)]).toEqual([0x8086a201, 0xfed00000]);
});

test("PCI Firmware 3.0, 4.1.2: base, segment 0, buses 0 to 255", () => {
  const mcfg = viewOf("MCFG");
  expect([mcfg.getUint32(44, true), mcfg.getUint16(52, true), mcfg.getUint8(54), mcfg.getUint8(55)]).toEqual([
    0xb0000000, 0, 0, 255,
  ]);
});

test("the tables of 64 processors do not overlap and end below 1 MiB", () => {
  const many = firmwareTables({ ...BOARD, apicIds: Array.from({ length: 64 }, (_, n) => n) }).pieces;
  const sorted = [...many].sort((a, b) => a.address - b.address);
  sorted.forEach((piece, i) => {
    expect(piece.address + piece.size).toBeLessThanOrEqual(sorted[i + 1]?.address ?? 0x100000);
  });
});

const hasIasl = spawnSync("iasl", ["-v"]).error === undefined;

describe.runIf(hasIasl)("iasl", () => {
  const folder = mkdtempSync(join(tmpdir(), "iretq-acpi-"));
  const disassemble = (what: string): { log: string; source: string } => {
    writeFileSync(join(folder, `${what}.aml`), bytesOf(what));
    const { stdout, stderr } = spawnSync("iasl", ["-d", `${what}.aml`], { cwd: folder, encoding: "utf8" });
    return { log: stdout + stderr, source: readFileSync(join(folder, `${what}.dsl`), "utf8") };
  };

  test.each([...TABLES, "FACS"])("disassembles %s without a complaint", what => {
    const { log, source } = disassemble(what);
    expect(log).not.toMatch(/error|warning|invalid|exception/i);
    expect(source).not.toMatch(/\*\*\*\*|Invalid|Incorrect|Unknown/);
  });

  test("reads _OSC as PCI Firmware 3.0, 4.5.1 has it", () => {
    const source = disassemble("DSDT")
      .source.replace(/\/\*.*?\*\//g, "")
      .replace(/\s+/g, " ");
    expect(source).toContain("Method (_OSC, 4, Serialized)");
    expect(source).toContain('(Arg0 == ToUUID ("33db4d5b-1ff7-401c-9657-7441c03dd766")');
    expect(source).toContain("CreateDWordField (Arg3, Zero, CDW1)");
    expect(source).toContain("CreateDWordField (Arg3, 0x08, CDW3)");
    // All but SHPC (bit 1).
    expect(source).toMatch(/Local0 = \(CDW3 ?& 0x1D\)|And \(CDW3 ?, 0x1D, Local0\)/);
  });

  test("compiles what it disassembled of the DSDT into the same bytes, without a warning", () => {
    expect(disassemble("DSDT").source).toContain("ACPI0007");
    // 6.2.13: "0xFFFF" in the low word is any function; pin 1 is INTB#.
    expect(disassemble("DSDT").source.replace(/\s+/g, " ")).toContain("0x0003FFFF, One, Zero, 0x14");
    const log = execFileSync("iasl", ["-p", "again", "DSDT.dsl"], { cwd: folder, stdio: "pipe", encoding: "utf8" });
    expect(log).toMatch(/ 0 Errors, 0 Warnings/);
    const again = new Uint8Array(readFileSync(join(folder, "again.aml")));
    // Behind the header, which names its compiler.
    expect([...again.subarray(36)]).toEqual([...bytesOf("DSDT").subarray(36)]);
    rmSync(folder, { recursive: true });
  });
});
