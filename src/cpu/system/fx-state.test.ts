import { describe, expect, it } from "vitest";
import { X87 } from "../fpu/x87.ts";
import * as L from "../layout.ts";
import { CR0, CR4 } from "./control-bits.ts";
import { fxStateHelpers } from "./fx-state.ts";
import { HelperFixture } from "./helper-fixture.ts";

const AT = 0x400;

const make = (f: HelperFixture) => {
  const s = f.state;
  const x87 = new X87(s.view, s.base + L.X87);
  x87.init();
  s.setLo(L.MXCSR, 0x1f80);
  s.setLo(L.CR4, s.int(L.CR4) | CR4.osfxsr);
  for (let i = 0; i < 256; i++) s.u8[s.base + L.XMM + i] = i;
  f.memory.bytes.fill(0xcc, AT - 16, AT + 600);
  return { x87, t: fxStateHelpers(f.ctx, f.memory, x87) };
};
/** Pushes 1.0 by FLD1. */
const fld1 = (x87: X87): number => x87.exec(0xd9, 0xe8);
const bytes = (f: HelperFixture, from: number, to: number): number[] => [...f.memory.bytes.slice(AT + from, AT + to)];
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

describe("FXSAVE and FXRSTOR (SDM vol. 1, 10.5)", () => {
  it("layout in 64-bit mode: FCW, FSW, abridged tags, MXCSR and its mask, ST at 32, XMM0-15 at 160; bytes 416-511 untouched", () => {
    const f = new HelperFixture();
    const { t, x87 } = make(f);
    fld1(x87);
    t.fxsave!(f.memoryRecord(AT));
    const v = f.memory.view;
    expect(v.getUint16(AT, true)).toBe(0x37f);
    expect(v.getUint16(AT + 2, true)).toBe(0x3800);
    expect(v.getUint8(AT + 4)).toBe(0x80);
    expect(v.getUint32(AT + 24, true)).toBe(0x1f80);
    expect(v.getUint32(AT + 28, true)).toBe(0xffff);
    // ST(0) = 1.0: significand 8000000000000000H, exponent 3FFFH.
    expect(bytes(f, 32, 42)).toEqual([0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f]);
    expect(bytes(f, 160, 416)).toEqual(range(0, 256));
    expect(bytes(f, 416, 520)).toEqual(new Array(104).fill(0xcc));
  });

  it("outside 64-bit mode XMM8-15 are neither saved nor restored", () => {
    const f = new HelperFixture().protected32();
    const { t } = make(f);
    t.fxsave!(f.memoryRecord(AT));
    expect(bytes(f, 160, 288)).toEqual(range(0, 128));
    expect(bytes(f, 288, 416)).toEqual(new Array(128).fill(0xcc));
    f.memory.bytes.fill(0x11, AT + 160, AT + 416);
    t.fxrstor!(f.memoryRecord(AT));
    const xmm = f.state.u8.slice(L.XMM, L.XMM + 256);
    expect([...xmm.slice(0, 128)]).toEqual(new Array(128).fill(0x11));
    expect([...xmm.slice(128)]).toEqual(range(128, 256));
  });

  it("FXRSTOR brings back what FXSAVE saved", () => {
    const f = new HelperFixture();
    const { t, x87 } = make(f);
    fld1(x87);
    fld1(x87);
    f.state.setLo(L.MXCSR, 0x9fc0);
    t.fxsave!(f.memoryRecord(AT, { prefix: L.PFX.opSize64 }));
    const before = f.state.u8.slice(L.XMM, L.X87 + 0xa0);
    f.state.u8.fill(0, L.XMM, L.X87 + 0xa0);
    t.fxrstor!(f.memoryRecord(AT, { prefix: L.PFX.opSize64 }));
    expect([...f.state.u8.slice(L.XMM, L.X87 + 0xa0)]).toEqual([...before]);
  });

  it("#NM for EM or TS, #GP(0) for misalignment and for reserved bits of MXCSR", () => {
    const f = new HelperFixture();
    const { t } = make(f);
    expect(f.fault(() => t.fxsave!(f.memoryRecord(AT + 8)))).toBe("#gp(0)");
    t.fxsave!(f.memoryRecord(AT));
    f.memory.view.setUint32(AT + 24, 0x1_1f80, true);
    expect(f.fault(() => t.fxrstor!(f.memoryRecord(AT)))).toBe("#gp(0)");
    const cr0 = f.state.int(L.CR0);
    for (const bit of [CR0.em, CR0.ts]) {
      f.state.setLo(L.CR0, cr0 | bit);
      expect(f.fault(() => t.fxsave!(f.memoryRecord(AT)))).toBe("#nm");
      expect(f.fault(() => t.fxrstor!(f.memoryRecord(AT)))).toBe("#nm");
    }
  });

  it("a fault anywhere in the area writes nothing", () => {
    const f = new HelperFixture();
    const { t } = make(f);
    f.memory.readOnlyFrom = AT + 500;
    expect(f.fault(() => t.fxsave!(f.memoryRecord(AT)))).toBe("#pf(2)");
    expect(bytes(f, 0, 16)).toEqual(new Array(16).fill(0xcc));
    f.memory.faultAt = AT + 500;
    expect(f.fault(() => t.fxrstor!(f.memoryRecord(AT)))).toBe("#pf(0)");
  });
});

describe("XSAVE and XRSTOR (SDM vol. 1, 13.7 and 13.8)", () => {
  const ready = () => {
    const f = new HelperFixture("GenuineIntel", ["+xsave"]);
    const m = make(f);
    f.state.setLo(L.CR4, CR4.pae | CR4.osfxsr | CR4.osxsave);
    f.state.set64(L.XCR0, 3, 0);
    f.setGpr("rax", -1n);
    f.setGpr("rdx", -1n);
    f.memory.bytes.fill(0, AT + 512, AT + 576);
    return { f, ...m };
  };

  it("XSAVE writes what EDX:EAX and XCR0 ask for, and XSTATE_BV", () => {
    const { f, t } = ready();
    f.setGpr("rax", 2);
    f.memory.view.setUint32(AT + 512, 1, true);
    t.xsave!(f.memoryRecord(AT));
    expect(bytes(f, 0, 24)).toEqual(new Array(24).fill(0xcc));
    expect(f.memory.view.getUint32(AT + 24, true)).toBe(0x1f80);
    expect(bytes(f, 32, 160)).toEqual(new Array(128).fill(0xcc));
    expect(bytes(f, 160, 416)).toEqual(range(0, 256));
    expect(f.memory.view.getUint32(AT + 512, true)).toBe(3);
    f.setGpr("rax", 1);
    t.xsaveopt!(f.memoryRecord(AT));
    expect(f.memory.view.getUint16(AT, true)).toBe(0x37f);
  });

  it("XRSTOR puts components that the image does not have into their initial state", () => {
    const { f, t, x87 } = ready();
    fld1(x87);
    t.xsave!(f.memoryRecord(AT));
    f.memory.view.setUint32(AT + 512, 1, true);
    f.state.setLo(L.MXCSR, 0);
    t.xrstor!(f.memoryRecord(AT));
    expect([...f.state.u8.slice(L.XMM, L.XMM + 256)]).toEqual(new Array(256).fill(0));
    expect(f.state.lo(L.MXCSR)).toBe(0x1f80);
    expect(x87.state.top).toBe(7);
    f.memory.view.setUint32(AT + 512, 2, true);
    t.xrstor!(f.memoryRecord(AT));
    expect([x87.state.top, x87.state.ftw, x87.state.fcw]).toEqual([0, 0xffff, 0x37f]);
    expect([...f.state.u8.slice(L.XMM, L.XMM + 256)]).toEqual(range(0, 256));
  });

  it("XRSTOR: #GP(0) for components outside XCR0, header bytes 23:8, MXCSR, alignment of 64", () => {
    const { f, t } = ready();
    t.xsave!(f.memoryRecord(AT));
    const attempt = (): string => f.fault(() => t.xrstor!(f.memoryRecord(AT)));
    expect(attempt()).toBe("");
    for (const [at, value] of [
      [512, 4],
      [516, 1],
      [520, 1],
      [535, 1],
      [26, 1],
    ] as const) {
      const old = f.memory.bytes[AT + at]!;
      f.memory.bytes[AT + at] = value;
      expect(attempt(), `byte ${at}`).toBe("#gp(0)");
      f.memory.bytes[AT + at] = old;
    }
    expect(f.fault(() => t.xrstor!(f.memoryRecord(AT + 16)))).toBe("#gp(0)");
    expect(f.fault(() => t.xsave!(f.memoryRecord(AT + 32)))).toBe("#gp(0)");
  });

  it("#UD without CR4.OSXSAVE, #NM with TS", () => {
    const { f, t } = ready();
    f.state.setLo(L.CR0, f.state.int(L.CR0) | CR0.ts);
    expect(f.fault(() => t.xsave!(f.memoryRecord(AT)))).toBe("#nm");
    f.state.setLo(L.CR4, CR4.pae | CR4.osfxsr);
    expect(f.fault(() => t.xsave!(f.memoryRecord(AT)))).toBe("#ud");
    expect(f.fault(() => t.xrstor!(f.memoryRecord(AT)))).toBe("#ud");
  });
});

describe("LDMXCSR and STMXCSR (SDM vol. 2)", () => {
  it("load and store MXCSR; reserved bits are #GP(0); they are SSE instructions", () => {
    const f = new HelperFixture();
    const { t } = make(f);
    f.memory.view.setUint32(AT, 0xffff, true);
    t.ldmxcsr!(f.memoryRecord(AT));
    t.stmxcsr!(f.memoryRecord(AT + 4));
    expect(f.memory.view.getUint32(AT + 4, true)).toBe(0xffff);
    f.memory.view.setUint32(AT, 0x10000, true);
    expect(f.fault(() => t.ldmxcsr!(f.memoryRecord(AT)))).toBe("#gp(0)");
    f.state.setLo(L.CR0, f.state.int(L.CR0) | CR0.ts);
    expect(f.fault(() => t.stmxcsr!(f.memoryRecord(AT)))).toBe("#nm");
    f.state.setLo(L.CR4, CR4.pae);
    expect(f.fault(() => t.stmxcsr!(f.memoryRecord(AT)))).toBe("#ud");
  });
});
