/**
 * Debian's own kernels, unmodified, boot to user space, check themselves and leave, with no option that helps them over something. Each boot is judged by its
 * log (what the same kernel says on QEMU, too, it may say here), by /proc/interrupts against our report, and by the state hash of the same boot cut in
 * two. Needs what `npm run guests` fetches, and is left out without it.
 */
import { describe, expect, test } from "vitest";
import { BOOT_MS, Boot, CASES, type Case, canBoot, nameOf } from "./linux-boot.ts";
import { known, suspicious } from "./linux-complaints.ts";
import { cellsOf, compare, rowsOf } from "./linux-interrupts.ts";

const ROUNDS = [1, 2, 3];
/** Of the counts that the guest reads, so many must have stood still meanwhile, or the comparison says little. */
const LEAST_EXACT = 0.4;
/** Instructions after which boots are cut: well behind the start, well before the end. */
const CUT = { cloud: { from: 100e6, to: 350e6 }, amd64: { from: 200e6, to: 800e6 } } as const;

/** The instruction at which a boot is cut, drawn from its name, so that a failure can be repeated. */
function cutOf(boot: Case): number {
  const hash = [...nameOf(boot)].reduce((h, c) => Math.imul(h ^ c.charCodeAt(0), 0x01000193) >>> 0, 0x811c9dc5);
  const { from, to } = CUT[boot.kernel];
  return Math.floor(from + ((to - from) * hash) / 2 ** 32);
}

function checkInterrupts(boot: Boot, { append = "", devices = [] }: Case): void {
  const apics = !append.includes("noapic");
  for (const round of ROUNDS) {
    const rows = rowsOf(boot.lines, round);
    expect(rows.length).toBeGreaterThan(10);
    const after = boot.marks.get(`end ${round}`)!;
    const { wrong, unclaimed, counted, exact } = compare(rows, boot.marks.get(`begin ${round}`)!, after);
    expect([wrong, unclaimed]).toEqual([[], []]);
    expect(exact / counted).toBeGreaterThan(LEAST_EXACT);
    const kinds = new Set(cellsOf(after).map(cell => cell.kind));
    expect([kinds.has("pin"), kinds.has("lvt"), kinds.has("msi")]).toEqual([apics, apics, devices.length > 0]);
  }
}

describe.each(CASES.filter(canBoot).map(boot => [nameOf(boot), boot] as const))(
  "Debian's kernel: %s",
  (_name, boot) => {
    test(
      "user space, power off, no complaint of its own; /proc/interrupts is our report; cut in two it ends the same",
      () => {
        const whole = new Boot(boot);
        expect(whole.run(cutOf(boot))).toBeNull();
        const snapshot = whole.pc.save();
        const before = whole.text.length;
        expect(whole.run()).toMatchObject({ kind: boot.end ?? "power-off", status: 0 });
        expect(whole.lines.find(line => line.startsWith("INIT "))).toMatch(new RegExp(` cpus=${boot.cpus}$`));
        expect(whole.lines).toContain("END");
        expect(whole.lines).toContain("clocksource tsc");
        checkInterrupts(whole, boot);

        const allowed = known(boot);
        expect(suspicious(whole.lines).filter(line => !allowed.includes(line))).toEqual([]);

        const resumed = new Boot(boot);
        resumed.pc.load(snapshot);
        expect(resumed.run()?.kind).toBe(boot.end ?? "power-off");
        expect([resumed.pc.retired, resumed.pc.stateHash()]).toEqual([whole.pc.retired, whole.pc.stateHash()]);
        expect(resumed.text).toBe(whole.text.slice(before));
      },
      3 * BOOT_MS,
    );
  },
);

test.runIf(canBoot({ kernel: "cloud", cpus: 4 }))(
  "the same boot gives the same state hash, whatever turns it is run in",
  () => {
    const boot: Case = { kernel: "cloud", cpus: 4 };
    const hashes = [1e9, 12_345_678].map(turn => {
      const run = new Boot(boot);
      let exit = null;
      while (exit === null) exit = run.run(run.pc.retired + turn);
      return [run.pc.retired, run.pc.stateHash()];
    });
    expect(hashes[1]).toEqual(hashes[0]);
  },
  2 * BOOT_MS,
);
