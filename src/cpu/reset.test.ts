/** Registers after power-up, RESET and INIT (Intel SDM vol. 3A, table 9-1). */
import { expect, test } from "vitest";
import { ACTIVITY } from "../ports/processor.ts";
import * as L from "./layout.ts";
import { CpuModel, SIGNATURE } from "./model.ts";
import { resetRegisters } from "./reset.ts";
import { CpuState } from "./state.ts";

const fresh = (): CpuState => new CpuState(new ArrayBuffer(L.STATE_SIZE), 0);
/** Everything set to something else. */
function used(): CpuState {
  const s = fresh();
  s.u8.fill(0xa5, 0, L.SAVED_SIZE);
  return s;
}

function expectCommon(s: CpuState, model: CpuModel): void {
  expect(s.eflags).toBe(2);
  expect(s.num(L.RIP)).toBe(0xfff0);
  expect([L.CR2, L.CR3, L.CR4].map(r => s.big(r))).toEqual([0n, 0n, 0n]);
  expect(s.selector(L.SEG.cs)).toBe(0xf000);
  expect([s.lo(L.SEG_BASE + L.SEG.cs * 8), s.segLimit(L.SEG.cs), s.segAttr(L.SEG.cs) & 0xff]).toEqual([
    0xffff0000, 0xffff, 0x93,
  ]);
  for (const seg of [L.SEG.ss, L.SEG.ds, L.SEG.es, L.SEG.fs, L.SEG.gs]) {
    expect([s.selector(seg), s.segBase(seg), s.segLimit(seg), s.segAttr(seg)]).toEqual([0, 0, 0xffff, 0x93]);
  }
  for (const n of [0, 1, 3, 4, 5, 6, 7, 8, 15]) expect(s.big(n * 8)).toBe(0n);
  expect(s.lo(L.REG.rdx * 8)).toBe(SIGNATURE[model.vendor]);
  for (const [base, limit] of [
    [L.GDTR_BASE, L.GDTR_LIMIT],
    [L.IDTR_BASE, L.IDTR_LIMIT],
  ] as const)
    expect([s.big(base), s.lo(limit)]).toEqual([0n, 0xffff]);
  // LDTR and TR: present, LDT and busy TSS; of the latter's two formats the 16-bit one is told apart by nothing in real mode.
  expect([s.selector(L.SEG.ldtr), s.segLimit(L.SEG.ldtr), s.segAttr(L.SEG.ldtr)]).toEqual([0, 0xffff, 0x82]);
  expect([s.selector(L.SEG.tr), s.segLimit(L.SEG.tr), s.segAttr(L.SEG.tr) & 0x80]).toEqual([0, 0xffff, 0x80]);
  for (let n = 0; n < 4; n++) expect(s.big(L.DR + n * 8)).toBe(0n);
  expect([s.lo(L.DR6), s.lo(L.DR7)]).toEqual([0xffff0ff0, 0x400]);
  expect(s.big(L.EFER)).toBe(0n);
  expect([s.cpl, s.int(L.NMI_BLOCKED), s.int(L.SHADOW), s.int(L.PENDING_OFFSET), s.int(L.DEBUG_TRAP)]).toEqual([
    0, 0, 0, 0, 0,
  ]);
}

test.each(["GenuineIntel", "AuthenticAMD"] as const)("power-up, %s", vendor => {
  const model = new CpuModel(vendor);
  const s = used();
  resetRegisters(s, model, "power", true);
  expectCommon(s, model);
  expect(s.lo(L.CR0)).toBe(0x60000010);
  expect(s.lo(L.MXCSR)).toBe(0x1f80);
  for (let n = 0; n < 16; n++) expect([s.big(L.XMM + n * 16), s.big(L.XMM + n * 16 + 8)]).toEqual([0n, 0n]);
  expect(s.big(L.XCR0)).toBe(1n);
  expect([s.big(L.MSR.tscAdjust), s.big(L.MSR.sysenterEip)]).toEqual([0n, 0n]);
  expect(s.lo(L.ACTIVITY_OFFSET)).toBe(ACTIVITY.running);
});

test("INIT keeps CR0.CD and CR0.NW, x87 and SSE registers, MSRs, MTRRs; resets the rest", () => {
  const model = new CpuModel();
  for (const caching of [0, 0x20000000, 0x40000000, 0x60000000]) {
    const s = used();
    s.setLo(L.CR0, 0x80000033 | caching);
    resetRegisters(s, model, "init", true);
    expectCommon(s, model);
    expect(s.lo(L.CR0)).toBe(caching | 0x10);
    for (const [from, to] of [
      [L.XMM, L.XMM + 256],
      [L.X87, L.X87 + 0x100],
      [L.MXCSR, L.MXCSR + 4],
      [L.MSR.star, L.MSR.featureControl],
      [L.RETIRED, L.RETIRED + 8],
      [L.XCR0, L.XCR0 + 8],
    ] as const) {
      expect([...s.u8.subarray(from, to)].every(byte => byte === 0xa5)).toBe(true);
    }
  }
});

test("a processor that is not the bootstrap processor waits for a start-up IPI, after power-up and after INIT", () => {
  for (const kind of ["power", "init"] as const) {
    const s = used();
    resetRegisters(s, new CpuModel(), kind, false);
    expect(s.lo(L.ACTIVITY_OFFSET)).toBe(ACTIVITY.waitForSipi);
    resetRegisters(s, new CpuModel(), kind, true);
    expect(s.lo(L.ACTIVITY_OFFSET)).toBe(ACTIVITY.running);
  }
});

test("nothing of the past is left after power-up", () => {
  const [a, b] = [used(), fresh()];
  for (const s of [a, b]) resetRegisters(s, new CpuModel(), "power", false);
  expect(Buffer.compare(a.u8, b.u8)).toBe(0);
});
