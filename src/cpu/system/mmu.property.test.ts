import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as L from "../layout.ts";
import { MODE } from "../state.ts";
import { Mmu } from "./mmu.ts";
import { Fixture } from "./mmu-fixture.ts";

/** Eight linear pages that collide in the TLB (512 entries) in pairs; eight physical pages. */
const LINEAR = [0x5000, 0x205000, 0x6000, 0x7000, -0x1000, -0x2000, 0x8000, 0x9000];
const PHYSICAL = Array.from({ length: 8 }, (_, i) => 0x100000 + i * 0x1000);

type Step =
  | { do: "map"; page: number; to: number; user: boolean; writable: boolean; present: boolean; cr3: boolean }
  | { do: "access"; page: number; offset: number; size: number; write: boolean; value: number; cpl: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant("map" as const),
    page: fc.nat(7),
    to: fc.nat(7),
    user: fc.boolean(),
    writable: fc.boolean(),
    present: fc.integer({ min: 0, max: 3 }).map(n => n > 0),
    cr3: fc.boolean(),
  }),
  fc.record({
    do: fc.constant("access" as const),
    page: fc.nat(7),
    offset: fc.oneof(fc.nat(4095), fc.integer({ min: 4089, max: 4095 })),
    size: fc.constantFrom(1, 2, 4, 8),
    write: fc.boolean(),
    value: fc.nat(0xffffffff),
    cpl: fc.constantFrom(0, 3),
  }),
);

/** The obvious model: a list of page mappings and bytes. */
class Model {
  readonly pages = new Map<number, { to: number; user: boolean; writable: boolean }>();
  readonly bytes = new Uint8Array(8 * 4096);
  /** Index into `bytes` of each byte, or the #PF error code of the first bad page as a negative number − 1. */
  places(linear: number, size: number, write: boolean, user: boolean): number[] | number {
    const places: number[] = [];
    for (let i = 0; i < size; i++) {
      const at = linear + i;
      const page = this.pages.get(Math.floor(at / 4096) * 4096);
      const code = (write ? 2 : 0) | (user ? 4 : 0);
      if (page === undefined) return code;
      if ((user && !page.user) || (write && !page.writable)) return code | 1;
      places.push(page.to - 0x100000 + (at - Math.floor(at / 4096) * 4096));
    }
    return places;
  }
}

describe("TLB, walker and slow path against an obvious model (SDM vol. 3A, 4.6, 4.7, 4.10)", () => {
  test("any sequence of mapping changes (each followed by INVLPG or MOV CR3) and accesses", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), steps => {
        const f = new Fixture();
        f.longPaging();
        f.state.setLo(L.CODE_MODE, MODE.code64);
        const mmu = new Mmu(f.ctx, f.onCodeWrite);
        const model = new Model();
        for (const s of steps) {
          const linear = LINEAR[s.page]!;
          if (s.do === "map") {
            const to = PHYSICAL[s.to]!;
            f.map(linear, to, (s.present ? 1 : 0) | (s.writable ? 2 : 0) | (s.user ? 4 : 0));
            if (s.present) model.pages.set(linear, { to, user: s.user, writable: s.writable });
            else model.pages.delete(linear);
            if (s.cr3) mmu.tlb.flushNonGlobal();
            else mmu.tlb.flushPage(linear);
            continue;
          }
          f.state.setLo(L.CPL, s.cpl);
          mmu.tlb.selectBank();
          f.state.setNum(L.SLOW_ADDRESS, linear + s.offset);
          const places = model.places(linear + s.offset, s.size, s.write, s.cpl === 3);
          if (s.write) f.state.set64(L.SLOW_DATA, s.value, ~s.value);
          const result = s.write ? mmu.slowStore(L.SEG.ds, s.size) : mmu.slowLoad(L.SEG.ds, s.size);
          if (typeof places === "number") {
            expect([result, mmu.faultError]).toEqual([1, places]);
            continue;
          }
          expect(result).toBe(0);
          const data = f.state.u8.subarray(f.state.base + L.SLOW_DATA, f.state.base + L.SLOW_DATA + s.size);
          if (s.write) for (let i = 0; i < places.length; i++) model.bytes[places[i]!] = data[i]!;
          else expect([...data]).toEqual(places.map(place => model.bytes[place]));
          // What the fast path would touch now is the right byte.
          const host = mmu.tlb.direct(mmu.tlb.bank, linear + s.offset, s.size, s.write);
          if (host >= 0) expect(host - 0x20000 - 0x100000).toBe(places[0]);
        }
        expect(Buffer.compare(model.bytes, f.ram.bytes.subarray(0x100000, 0x108000))).toBe(0);
      }),
      { numRuns: 300, seed: 1 },
    );
  });
});
