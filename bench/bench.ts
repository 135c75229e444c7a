/**
 * How fast the machine is, and QEMU's TCG beside it in the same run where that is installed: units of work per second of wall time, medians of five runs.
 *
 *     npm run bench                 all rows
 *     npm run bench -- mix int80    these rows
 *
 * Every row is a guest of guests/bench that prints BEGIN, does n units and prints DONE. n is chosen so that a run takes about a second. Here, only the
 * second half of the units is timed, when the host's compiler has warmed up; QEMU's warm-up takes milliseconds, so its whole run counts. The
 * machine is watched as the command watches it, by the statistics that make the report. The row `linux` is another: a whole boot, in CPU seconds
 * (linux-row.ts); those of scripted cores have no guest: `npm run bench -- scripted` (scripted-rows.ts). Run it on an idle machine and compare ratios,
 * not figures of different days.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { MIB } from "../src/base/units.ts";
import { InterruptStats } from "../src/check/interrupt-stats.ts";
import { Pc } from "../src/machine/pc.ts";
import { LINUX_ROW, linuxRow } from "./linux-row.ts";
import { SCRIPTED_ROWS, scriptedRows } from "./scripted-rows.ts";

type Guest = {
  readonly name: string;
  readonly file: string;
  readonly kind: string;
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly units?: string;
  readonly description: string;
};

const RUNS = 5;
const TARGET_MS = 1000;
const CALIBRATION_MS = 150;
const FIRST_UNITS = 1;
const MAX_UNITS = 2 ** 40;
const folder = new URL("../guests/", import.meta.url);
const guests = (JSON.parse(readFileSync(new URL("manifest.json", folder), "utf8")) as Guest[]).filter(
  g => g.kind === "bench",
);
const rowName = (guest: Guest): string => guest.name.replace(/^bench-/, "");

const median = (values: number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

/** Units per host second in some machine; `ms` is how long they took. */
type Timed = { readonly ms: number; readonly units: number; readonly instructions: number };

/** Looks for the lines that a guest prints. */
class Lines {
  #line = "";
  readonly #on: (line: string) => void;
  constructor(on: (line: string) => void) {
    this.#on = on;
  }
  put(byte: number): void {
    if (byte === 0x0a) {
      this.#on(this.#line.trim());
      this.#line = "";
    } else this.#line += String.fromCharCode(byte);
  }
}

type Marks = { beginMs: number; doneMs: number; begin: number; done: number };

/** A run of `units` here; `stops` are the instruction counts at which the clock is looked at. */
function runHere(guest: Guest, units: number, stops: readonly number[] = []): { marks: Marks; stopMs: number[] } {
  const marks: Marks = { beginMs: 0, doneMs: 0, begin: 0, done: 0 };
  const lines = new Lines(line => {
    if (line === "BEGIN") [marks.beginMs, marks.begin] = [performance.now(), pc.retired];
    if (line.startsWith("DONE")) [marks.doneMs, marks.done] = [performance.now(), pc.retired];
  });
  const bytes = new Uint8Array(readFileSync(new URL(guest.file, folder)));
  const pc: Pc = new Pc({
    cpus: guest.cpus,
    memory: guest.memoryMiB * MIB,
    image: { name: guest.file, bytes, args: `n=${units}` },
    onSerial: byte => lines.put(byte),
  });
  pc.trace.listen(new InterruptStats(guest.cpus), InterruptStats.KINDS);
  const stopMs = stops.map(stop => {
    while (pc.retired < stop) if (pc.run(stop) !== null) break;
    return performance.now();
  });
  for (let exit = null; exit === null; ) exit = pc.run(Number.POSITIVE_INFINITY);
  if (marks.done === 0) throw new Error(`${guest.name} did not get done`);
  return { marks, stopMs };
}

/** The number of units that takes about as long as wanted. */
async function calibrate(run: (units: number) => Promise<number>): Promise<number> {
  for (let units = FIRST_UNITS; units < MAX_UNITS; units *= 4) {
    const ms = await run(units);
    if (ms >= CALIBRATION_MS) return Math.max(1, Math.round((units * TARGET_MS) / ms));
  }
  throw new Error("calibration did not end");
}

/**
 * Where the second half of the units lies, in instructions. What a guest does once, behind its units (the copying ones look at what they copied), is
 * found by comparing runs of different length: it belongs to no unit.
 */
function secondHalf(guest: Guest, units: number): { from: number; to: number } {
  const { marks: whole } = runHere(guest, units);
  const { marks: part } = runHere(guest, Math.ceil(units / 2));
  const spent = (marks: Marks): number => marks.done - marks.begin;
  const perUnit = units > 1 ? (spent(whole) - spent(part)) / (units - Math.ceil(units / 2)) : spent(whole);
  const at = (done: number): number => Math.floor(whole.begin + perUnit * done);
  return { from: at(units / 2), to: at(units) };
}

async function here(guest: Guest): Promise<Timed[]> {
  const units = await calibrate(async n => {
    const { marks } = runHere(guest, n);
    return marks.doneMs - marks.beginMs;
  });
  const { from, to } = secondHalf(guest, units);
  return Array.from({ length: RUNS }, () => {
    const [began, ended] = runHere(guest, units, [from, to]).stopMs;
    return { ms: ended! - began!, units: units / 2, instructions: to - from };
  });
}

const qemuInstalled = spawnSync("qemu-system-x86_64", ["--version"]).status === 0;

/** Milliseconds between the guest's BEGIN and DONE under QEMU. */
function runQemu(guest: Guest, units: number): Promise<number> {
  const args = ["-M", "pc", "-cpu", "max", "-accel", "tcg", "-m", String(guest.memoryMiB), "-smp", String(guest.cpus)];
  args.push("-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio");
  args.push("-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", fileURLToPath(new URL(guest.file, folder)));
  args.push("-append", `n=${units}`);
  return new Promise((resolve, reject) => {
    const child: ChildProcess = spawn("qemu-system-x86_64", args, { stdio: ["ignore", "pipe", "inherit"] });
    let begin = 0;
    let done = 0;
    const lines = new Lines(line => {
      if (line === "BEGIN") begin = performance.now();
      if (line.startsWith("DONE")) done = performance.now();
    });
    child.stdout!.on("data", (data: Buffer) => {
      for (const byte of data) lines.put(byte);
    });
    child.on("error", reject);
    child.on("close", () =>
      done === 0 ? reject(new Error(`${guest.name} did not get done on QEMU`)) : resolve(done - begin),
    );
  });
}

async function onQemu(guest: Guest): Promise<Timed[]> {
  const units = await calibrate(n => runQemu(guest, n));
  const times: Timed[] = [];
  for (let i = 0; i < RUNS; i++) times.push({ ms: await runQemu(guest, units), units, instructions: 0 });
  return times;
}

const perSecond = (runs: Timed[]): number => median(runs.map(run => (run.units / run.ms) * 1000));

function figure(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toPrecision(3)} M`;
  if (value >= 1e3) return `${(value / 1e3).toPrecision(3)} k`;
  return value.toPrecision(3);
}

async function main(): Promise<void> {
  const wanted = process.argv.slice(2);
  const rows = [...guests.map(rowName), LINUX_ROW, ...SCRIPTED_ROWS];
  const unknown = wanted.filter(name => !rows.includes(name));
  if (unknown.length > 0) {
    console.error(`no such row: ${unknown.join(", ")}; there are ${rows.join(", ")}`);
    process.exitCode = 64;
    return;
  }
  if (!qemuInstalled) console.log("qemu-system-x86_64 is not installed: no comparison");
  if (wanted.length === 0 || wanted.includes(LINUX_ROW)) for (const line of linuxRow(RUNS)) console.log(line);
  for (const line of await scriptedRows(wanted, RUNS)) console.log(line);
  if (wanted.length > 0 && wanted.every(name => name === LINUX_ROW || SCRIPTED_ROWS.includes(name))) return;
  console.log(
    `${"row".padEnd(12)}${"iretq /s".padStart(12)}${"M instr/s".padStart(12)}${"QEMU TCG /s".padStart(14)}${"ratio".padStart(8)}  unit`,
  );
  for (const guest of guests) {
    if (wanted.length > 0 && !wanted.includes(rowName(guest))) continue;
    const ours = await here(guest);
    const theirs = qemuInstalled ? await onQemu(guest) : [];
    const rate = perSecond(ours);
    const million = median(ours.map(run => run.instructions / run.ms / 1000));
    const qemu = theirs.length > 0 ? perSecond(theirs) : 0;
    const cells = [figure(rate).padStart(12), million.toFixed(1).padStart(12)];
    cells.push((qemu > 0 ? figure(qemu) : "-").padStart(14), (qemu > 0 ? (rate / qemu).toFixed(2) : "-").padStart(8));
    console.log(`${rowName(guest).padEnd(12)}${cells.join("")}  ${guest.units ?? ""}: ${guest.description}`);
  }
}

await main();
