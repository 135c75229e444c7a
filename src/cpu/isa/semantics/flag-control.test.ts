/**
 * CLI, STI and MOV from control registers exist in generated code and as TypeScript helpers; both must do the same in every mode. Intel SDM vol. 2, tables
 * of CLI and STI; the helpers' own tests say what that is.
 */
import { expect, test } from "vitest";
import { CpuFixture } from "../../cpu-fixture.ts";
import { GuestFault } from "../../context.ts";
import { isa } from "../../engine.ts";
import * as L from "../../layout.ts";
import { FLAG } from "../../state.ts";

const CODE = 0x3000;
/** A record for helpers, in the last bytes of the space for code. */
function recordOf(f: CpuFixture, length: number): number {
  const record = f.ram.base - 64;
  f.s.u8.fill(0, record, record + L.RECORD_SIZE);
  f.s.u8[record + L.REC.length] = length;
  return record;
}

/** Registers after one instruction by generated code, or null when it raised an exception. */
function generated(f: CpuFixture, code: readonly number[], prepare: () => void): Uint8Array | null {
  prepare();
  f.load(CODE, new Uint8Array(32).fill(0x90));
  let fault = false;
  const { deliver } = f.cpu.units.delivery;
  f.cpu.units.delivery.deliver = () => {
    fault = true;
  };
  f.cpu.ctx.deliver = () => 0;
  f.load(CODE, code);
  f.engine.written(CODE / 4096, 0, 32);
  f.s.setNum(L.RIP, CODE);
  const done = f.cpu.run(1);
  f.cpu.units.delivery.deliver = deliver;
  if (fault) return null;
  expect(done).toBe(1);
  return (f.cpu.state.registers as Uint8Array).slice();
}

/** The same by the helper, with what the run loop does around an instruction. */
function helped(f: CpuFixture, name: string, length: number, prepare: (record: number) => void): Uint8Array | null {
  const record = recordOf(f, length);
  prepare(record);
  f.s.setNum(L.RIP, CODE);
  f.s.setLo(L.COUNT, 0);
  f.s.setLo(L.DEBT, 0);
  try {
    if (f.cpu.helpers[isa().set.helperNames.indexOf(name)]!(record) === 0) f.cpu.ctx.advance(record);
  } catch (fault) {
    if (!(fault instanceof GuestFault)) throw fault;
    return null;
  }
  f.s.setArithmetic(f.s.eflags);
  f.s.f64[(f.s.base + L.RETIRED) >>> 3]!++;
  return (f.cpu.state.registers as Uint8Array).slice();
}

const equal = (a: Uint8Array | null, b: Uint8Array | null): boolean =>
  a === null || b === null ? a === b : Buffer.compare(a, b) === 0;

test("CLI and STI: real mode, protected mode and virtual-8086 mode, every CPL, IOPL, IF, VIF, VIP, VME and PVI", () => {
  const [one, two] = [new CpuFixture(), new CpuFixture()];
  let faults = 0;
  for (const [name, opcode] of [
    ["cli", 0xfa],
    ["sti", 0xfb],
  ] as const) {
    for (let n = 0; n < 3 * 4 * 4 * 2 * 4 * 4; n++) {
      const mode = n % 3;
      const cpl = Math.floor(n / 3) % 4;
      if ((mode === 0 && cpl !== 0) || (mode === 2 && cpl !== 3)) continue;
      const iopl = Math.floor(n / 12) % 4;
      const flags =
        (Math.floor(n / 48) % 2) * FLAG.if + (Math.floor(n / 96) % 2) * FLAG.vif + (Math.floor(n / 192) % 2) * FLAG.vip;
      const cr4 = Math.floor(n / 384) % 4;
      const prepare = (f: CpuFixture): void => {
        f.cpu.reset("enter", "power");
        if (mode === 0) f.realMode();
        else f.protectedMode();
        f.s.setLo(L.CPL, cpl);
        f.s.eflags = flags | (iopl << 12) | (mode === 2 ? FLAG.vm : 0) | 2;
        f.s.setLo(L.CR4, f.s.int(L.CR4) | cr4);
        // Real mode's limit is 64 KiB: the code lies above.
        f.s.setLo(L.SEG_LIMIT + L.SEG.cs * 4, -1);
        f.cpu.restored();
      };
      const a = generated(one, [opcode], () => prepare(one));
      const b = helped(two, name, 1, () => prepare(two));
      if (a === null) faults++;
      if (!equal(a, b))
        expect({ name, mode, cpl, iopl, flags, cr4, registers: a }).toEqual({
          name,
          mode,
          cpl,
          iopl,
          flags,
          cr4,
          registers: b,
        });
    }
  }
  expect(faults).toBeGreaterThan(20);
});

test("MOV from CR0, CR2, CR3, CR4 and CR8, 32 and 64 bits, CPL 0 and 3, to every register", () => {
  const [one, two] = [new CpuFixture(), new CpuFixture()];
  for (const long of [false, true]) {
    for (const cr of [0, 1, 2, 3, 4, 5, 8]) {
      for (const cpl of [0, 3]) {
        for (let reg = 0; reg < (long ? 16 : 8); reg++) {
          if (!long && cr === 8) continue;
          const prepare = (f: CpuFixture): void => {
            f.cpu.reset("enter", "power");
            if (long) f.longMode();
            else f.protectedMode();
            for (let n = 0; n < 16; n++) f.s.set64(n * 8, 0x11111111 * n, 0xa5a5a5a5);
            f.s.set64(L.CR2, 0x89abcdef, long ? 0xffff8000 : 0);
            f.s.setLo(L.CPL, cpl);
            f.cpu.restored();
          };
          const rex = 0x40 | (cr >= 8 ? 4 : 0) | (reg >= 8 ? 1 : 0);
          const code = [...(long ? [rex] : []), 0x0f, 0x20, 0xc0 | ((cr & 7) << 3) | (reg & 7)];
          const a = generated(one, code, () => prepare(one));
          const b = helped(two, "mov_from_cr", code.length, record => {
            prepare(two);
            two.s.u8[record + L.REC.aux] = cr;
            two.s.u8[record + L.REC.r1] = cr * 8;
            two.s.u8[record + L.REC.r2] = reg * 8;
            two.s.u8[record + L.REC.prefix] = long ? L.PFX.opSize64 : 0;
          });
          if (a === null && b === null) continue;
          expect([long, cr, cpl, reg, equal(a, b)]).toEqual([long, cr, cpl, reg, true]);
        }
      }
    }
  }
});
