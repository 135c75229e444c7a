import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as L from "../layout.ts";
import { CR4 } from "./control-bits.ts";
import { HelperFixture } from "./helper-fixture.ts";
import { MSR_INDEX as I } from "./msr-index.ts";
import { Msrs } from "./msr.ts";
import { Tsc, tscHelpers } from "./msr-tsc.ts";

const U64 = (1n << 64n) - 1n;
const value = (t: Tsc): bigint => {
  t.read();
  return (BigInt(t.hi) << 32n) | BigInt(t.lo);
};
const words = (v: bigint): [number, number] => [Number(v & 0xffffffffn), Number((v >> 32n) & 0xffffffffn)];

describe("time-stamp counter (SDM vol. 3B, 17.17)", () => {
  it("counts nanoseconds of virtual time", () => {
    const f = new HelperFixture();
    const tsc = new Tsc(f.ctx);
    f.clock.advanceTo(0x1_2345_6789a);
    expect(value(tsc)).toBe(0x1_2345_6789an);
  });

  it("WRMSR to TSC moves TSC_ADJUST by the same amount, and the other way round (17.17.3)", () => {
    const u64 = fc.bigInt({ min: 0n, max: U64 });
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 50 }),
        fc.array(fc.tuple(fc.boolean(), u64), { maxLength: 5 }),
        (now, writes) => {
          const f = new HelperFixture();
          const tsc = new Tsc(f.ctx);
          f.clock.advanceTo(now);
          let counter = BigInt(now);
          let adjust = 0n;
          for (const [toCounter, v] of writes) {
            if (toCounter) {
              tsc.write(...words(v));
              adjust = (adjust + v - counter) & U64;
              counter = v;
            } else {
              tsc.writeAdjust(...words(v));
              counter = (counter + v - adjust) & U64;
              adjust = v;
            }
            expect(value(tsc)).toBe(counter);
            expect(f.state.big(L.MSR.tscAdjust)).toBe(adjust);
          }
        },
      ),
    );
  });

  it("tells the ns until a value: 1 GHz", () => {
    const f = new HelperFixture();
    const tsc = new Tsc(f.ctx);
    tsc.write(0xffffff00, 0);
    expect(tsc.nsUntil(0x10, 1)).toBe(0x110);
    expect(tsc.nsUntil(0xffffff00, 0)).toBe(0);
    expect(tsc.nsUntil(0xfffffeff, 0)).toBe(-1);
    expect(tsc.nsUntil(0, 0xffffffff)).toBe(2 ** 52);
  });

  it("a jump of the TSC re-arms the deadline that is set", () => {
    const f = new HelperFixture();
    const msrs = new Msrs(f.ctx, f.tlb, new Tsc(f.ctx));
    const writes: number[][] = [];
    f.apic.msrs.set(I.tscDeadline, [5000, 1]);
    f.apic.writeMsr = (index, low, high) => writes.push([index, low, high]) > 0;
    expect(msrs.write(I.tsc, 1, 0)).toBe(true);
    expect(writes).toEqual([[I.tscDeadline, 5000, 1]]);
    f.apic.msrs.set(I.tscDeadline, [0, 0]);
    expect(msrs.write(I.tscAdjust, 1, 0)).toBe(true);
    expect(writes).toHaveLength(1);
  });
});

describe("RDTSC, RDTSCP, RDPMC (SDM vol. 2B)", () => {
  it("RDTSCP gives TSC_AUX in ECX", () => {
    const f = new HelperFixture();
    f.clock.advanceTo(0x5_0000_0007);
    f.state.set64(L.MSR.tscAux, 0x99, 0);
    tscHelpers(f.ctx, new Tsc(f.ctx)).rdtscp!(f.record({}));
    expect([f.gpr("rax"), f.gpr("rdx"), f.gpr("rcx")]).toEqual([7n, 5n, 0x99n]);
  });

  it("CR4.TSD forbids both outside CPL 0", () => {
    const f = new HelperFixture().long64(3);
    const t = tscHelpers(f.ctx, new Tsc(f.ctx));
    expect(f.fault(() => t.rdtsc!(0))).toBe("");
    f.state.setLo(L.CR4, CR4.tsd);
    expect(f.fault(() => t.rdtsc!(0))).toBe("#gp(0)");
    expect(f.fault(() => t.rdtscp!(0))).toBe("#gp(0)");
    f.state.setLo(L.CPL, 0);
    expect(f.fault(() => t.rdtsc!(0))).toBe("");
  });

  it("RDTSCP is #UD without its feature; RDPMC is #GP(0) without counters", () => {
    const f = new HelperFixture("GenuineIntel", ["-rdtscp"]);
    const t = tscHelpers(f.ctx, new Tsc(f.ctx));
    expect(f.fault(() => t.rdtscp!(0))).toBe("#ud");
    expect(f.fault(() => t.rdpmc!(0))).toBe("#gp(0)");
  });
});
