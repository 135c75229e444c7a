/** Runs the bundled guests, for the tests beside this file. */
import { readFileSync } from "node:fs";
import { MIB } from "../../src/base/units.ts";
import { InterruptStats } from "../../src/check/interrupt-stats.ts";
import type { CacheSpec } from "../../src/machine/cache-board.ts";
import type { Exit } from "../../src/machine/exit.ts";
import { Pc } from "../../src/machine/pc.ts";
import { parseDevice } from "../../src/machine/pci-devices.ts";

export type Guest = {
  readonly name: string;
  readonly file: string;
  readonly kind: "demo" | "behaviour" | "bench";
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly testDevices: boolean;
  /** Needs a Sound Blaster. */
  readonly sound?: boolean;
  /** As after `--device`. */
  readonly devices?: readonly string[];
  readonly status: number;
};

const folder = new URL("../../guests/", import.meta.url);
const manifest = JSON.parse(readFileSync(new URL("manifest.json", folder), "utf8")) as Guest[];
/** All that judge themselves. */
export const guests = manifest.filter(guest => guest.kind !== "bench");
/** Nobody needs more; a guest that hangs fails instead of holding everything up. */
const LIMIT = 400_000_000;

export class Run {
  readonly pc: Pc;
  output = "";
  exit: Exit | null = null;

  constructor(guest: Guest, options: { readonly traced?: boolean; readonly caches?: CacheSpec } = {}) {
    const bytes = new Uint8Array(readFileSync(new URL(guest.file, folder)));
    this.pc = new Pc({
      cpus: guest.cpus,
      memory: guest.memoryMiB * MIB,
      image: { name: guest.file, bytes, args: "" },
      testDevices: guest.testDevices,
      onSound: guest.sound === true ? () => {} : null,
      devices: (guest.devices ?? []).map(parseDevice),
      caches: options.caches ?? null,
      onSerial: byte => {
        this.output += String.fromCharCode(byte);
      },
    });
    if (options.traced === true) this.pc.trace.listen(new InterruptStats(guest.cpus), InterruptStats.KINDS);
  }

  /** To the end, or to `until` instructions. */
  go(until = LIMIT): this {
    while (this.exit === null && this.pc.retired < until) this.exit = this.pc.run(until);
    return this;
  }
}
