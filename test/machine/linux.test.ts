/**
 * Debian's own cloud kernel, unmodified, boots to user space and powers off. Needs what `npm run guests` fetches, and is left out without it.
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { unpackKernel } from "../../src/firmware/unpack-kernel.ts";
import type { Exit } from "../../src/machine/exit.ts";
import { Pc } from "../../src/machine/pc.ts";

const folder = fileURLToPath(new URL("../../.cache/linux/", import.meta.url));
const KERNEL = `${folder}vmlinuz`;
const INITRD = `${folder}initrd-check.img`;
const MEMORY = 256 << 20;
/** Several times what a boot takes. */
const LIMIT = 3e9;
const BOOT_MS = 300_000;
/** Lines that a kernel prints when the machine is wrong. QEMU's log of the same kernel has none of them. */
const COMPLAINTS =
  /spurious|nobody cared|\blost\b|lockup|APIC error|WARNING|BUG:|Call Trace|MTRRs disabled|unable to calibrate|panic/i;

const file = (path: string, args = "") => ({
  name: path.split("/").at(-1)!,
  bytes: new Uint8Array(readFileSync(path)),
  args,
});

class Boot {
  readonly pc: Pc;
  text = "";

  constructor(cpus: number, append = "") {
    const image = unpackKernel(file(KERNEL, `console=ttyS0 cryptomgr.notests ${append}`));
    const onSerial = (byte: number): void => {
      this.text += String.fromCharCode(byte);
    };
    this.pc = new Pc({ cpus, memory: MEMORY, image, initrd: file(INITRD), onSerial });
  }

  run(until = LIMIT): Exit | null {
    for (;;) {
      const exit = this.pc.run(until);
      if (exit !== null || this.pc.retired >= until) return exit;
    }
  }

  get lines(): string[] {
    return this.text.split(/\r?\n/);
  }
}

describe.runIf(existsSync(KERNEL) && existsSync(INITRD))("Debian's cloud kernel", () => {
  test.each([
    [1, ""],
    [4, ""],
    [1, "noapic nolapic"],
    [1, "nohpet"],
  ])(
    "on %i CPUs %s: user space, power off, and no complaint",
    (cpus, append) => {
      const boot = new Boot(cpus, append);
      expect(boot.run()).toMatchObject({ kind: "power-off", status: 0 });
      expect(boot.lines.find(line => line.startsWith("INIT "))).toMatch(new RegExp(` cpus=${cpus}$`));
      expect(boot.lines).toContain("clocksource tsc");
      // The counters of /proc/interrupts have names of their own.
      const complaints = boot.lines.filter(line => COMPLAINTS.test(line) && !/^ *[A-Z]{3}: /.test(line));
      expect(complaints).toEqual([]);
    },
    BOOT_MS,
  );

  test(
    "saved in the middle and loaded into another machine, it ends in the same state",
    () => {
      const whole = new Boot(4);
      expect(whole.run()?.kind).toBe("power-off");
      const half = new Boot(4);
      const cut = 7 + Math.floor(whole.pc.retired * 0.61);
      expect(half.run(cut)).toBeNull();
      const resumed = new Boot(4);
      resumed.pc.load(half.pc.save());
      expect(resumed.run()?.kind).toBe("power-off");
      expect([resumed.pc.retired, resumed.pc.stateHash()]).toEqual([whole.pc.retired, whole.pc.stateHash()]);
      expect(half.text + resumed.text).toBe(whole.text);
    },
    3 * BOOT_MS,
  );
});
