/** What becomes of a machine whose CPUs have stopped while its timers go on. */
import { expect, test } from "vitest";
import { MIB } from "../../src/base/units.ts";
import type { Exit } from "../../src/machine/exit.ts";
import { Pc } from "../../src/machine/pc.ts";

/** A boot sector that ends in `hlt` for ever; the BIOS lets the timer tick. */
function boot(...code: number[]): Pc {
  const bytes = new Uint8Array(512);
  bytes.set([...code, 0xf4, 0xeb, 0xfd]);
  bytes.set([0x55, 0xaa], 510);
  return new Pc({ cpus: 2, memory: 4 * MIB, image: { name: "sector", bytes, args: "" } });
}
/** To the end, or to `ns` of virtual time. */
function run(pc: Pc, ns: number): Exit | null {
  for (;;) {
    const exit = pc.run(Number.POSITIVE_INFINITY, ns);
    if (exit !== null || pc.clock.now() >= ns) return exit;
  }
}

test("halted with interrupts off, a machine ends after ten seconds in which no NMI came, though its timer ticks", () => {
  const pc = boot(0xfa);
  expect(run(pc, 60e9)).toMatchObject({ kind: "idle", status: 72 });
  expect(Math.round(pc.clock.now() / 1e9)).toBe(10);
  const cut = boot(0xfa);
  run(cut, 4e9);
  const loaded = boot(0xfa);
  loaded.load(cut.save());
  expect(run(loaded, 60e9)).toMatchObject({ kind: "idle" });
  expect(loaded.stateHash()).toBe(pc.stateHash());
});

test("with interrupts on it goes on", () => {
  const pc = boot(0xfb);
  expect(run(pc, 30e9)).toBeNull();
});
