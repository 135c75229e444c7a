/**
 * Cost tables of scripted cores: what things last, in nanoseconds. A run names its table, and every report prints it. `fixed` is the time model of the x86
 * cores. The others are round figures of the order that measurements of such machines show; they are there to compare policies, not to predict
 * a certain processor.
 */
import type { CostTable } from "./task.ts";

export const COST_TABLES = {
  fixed: {
    name: "fixed",
    about: "every operation 1 ns, all else nothing: the time model of the x86 cores",
    interruptEntry: 0,
    interruptExit: 1,
    load: 1,
    store: 1,
    cacheMiss: 0,
    mmioRead: 1,
    mmioWrite: 1,
    portRead: 1,
    portWrite: 1,
    contextSwitch: 1,
    msr: 1,
    fence: 1,
    cacheLine: 1,
    invalidatePage: 1,
    invalidateIotlb: 1,
  },
  desktop: {
    name: "desktop",
    about: "a PC of about 3 GHz with its devices behind one bridge; round figures",
    interruptEntry: 250,
    interruptExit: 120,
    load: 1,
    store: 1,
    cacheMiss: 80,
    mmioRead: 400,
    mmioWrite: 60,
    portRead: 900,
    portWrite: 900,
    contextSwitch: 600,
    msr: 40,
    fence: 15,
    cacheLine: 40,
    invalidatePage: 60,
    invalidateIotlb: 900,
  },
  server: {
    name: "server",
    about: "a two-socket server with devices behind switches, remote memory half of the time; round figures",
    interruptEntry: 350,
    interruptExit: 150,
    load: 1,
    store: 1,
    cacheMiss: 130,
    mmioRead: 900,
    mmioWrite: 100,
    portRead: 1500,
    portWrite: 1500,
    contextSwitch: 900,
    msr: 50,
    fence: 25,
    cacheLine: 60,
    invalidatePage: 90,
    invalidateIotlb: 2000,
  },
} as const satisfies { readonly [name: string]: CostTable };

/** One line for the report. */
export function describeCosts(costs: CostTable): string {
  const { name, about, ...figures } = costs;
  const words = Object.entries(figures).map(
    ([key, ns]) => `${key.replace(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`)} ${ns}`,
  );
  return `cost table "${name}" (${about}), in ns: ${words.join(", ")}`;
}
