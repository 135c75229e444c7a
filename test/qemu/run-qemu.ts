/**
 * The guests on QEMU: runs the images of guests/manifest.json under `qemu-system-x86_64` (TCG) and gathers their PASS and
 * FAIL lines, which the same images on this emulator are compared with.
 *
 *     npx tsx test/qemu/run-qemu.ts [NAME...]      a table of all guests, or of those named
 *
 * Differences that QEMU is known to have from the manuals stand in guests/qemu-differences.json, each with its reason.
 */
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const guestsDirectory = join(dirname(fileURLToPath(import.meta.url)), "../../guests");

export interface GuestEntry {
  name: string;
  /** Beside the manifest: an ELF for multiboot 1 (.elf) or a flat boot sector (.bin). */
  file: string;
  kind: "demo" | "behaviour" | "bench";
  cpus: number;
  memoryMiB: number;
  /** Needs pc-testdev: ports 0x2000+n drive interrupt line n. */
  testDevices: boolean;
  /** Needs a Sound Blaster; QEMU's stands in `qemu`. */
  sound?: boolean;
  /** PCI functions of this machine, as after `--device`; QEMU's stand in `qemu`. */
  devices?: string[];
  /** Further arguments for QEMU; "-M" and "-cpu" among them replace the defaults. */
  qemu: string[];
  /** Exit status here, and under QEMU, where a triple fault is a reset, and with -no-reboot an exit with 0. */
  status: number;
  qemuStatus: number;
  description: string;
  /** What one unit of a benchmark is called. */
  units?: string;
  /** Set for the guest that ends neither by port 0xF4 nor by power off. */
  end?: "triple-fault";
}

export interface QemuDifference {
  guest: string;
  /** The check's text, without PASS or FAIL. */
  check: string;
  reason: string;
}

export interface QemuRun {
  /** What the guest wrote to COM1, without line ends. */
  lines: string[];
  /** QEMU's exit status; -1 when it had to be stopped at the time limit. */
  status: number;
}

const readJson = <T>(file: string): T => JSON.parse(readFileSync(join(guestsDirectory, file), "utf8")) as T;

export const readManifest = (): GuestEntry[] => readJson("manifest.json");
export const readDifferences = (): QemuDifference[] => readJson("qemu-differences.json");

export const qemuIsInstalled = (): boolean => spawnSync("qemu-system-x86_64", ["--version"]).status === 0;

const orDefault = (args: string[], name: string, value: string): string[] => (args.includes(name) ? [] : [name, value]);

/** The command line of one run, without the program's name. */
export function qemuArguments(entry: GuestEntry, append?: string): string[] {
  const image = join(guestsDirectory, entry.file);
  const boot = entry.file.endsWith(".bin")
    ? ["-drive", `file=${image},format=raw,if=floppy,readonly=on`, "-boot", "a"]
    : ["-kernel", image, ...(append === undefined ? [] : ["-append", append])];
  return [
    ...orDefault(entry.qemu, "-M", "pc"),
    ...orDefault(entry.qemu, "-cpu", "max,vendor=GenuineIntel"),
    ...["-accel", "tcg", "-m", `${entry.memoryMiB}`, "-smp", `${entry.cpus}`, "-nodefaults"],
    ...["-display", "none", "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"],
    ...(entry.end === "triple-fault" ? ["-no-reboot"] : []),
    ...(entry.testDevices ? ["-device", "pc-testdev"] : []),
    ...entry.qemu,
    ...boot,
  ];
}

/** Run one guest to its end, or until `timeoutMs` of host time are over. */
export function runOnQemu(entry: GuestEntry, options: { append?: string; timeoutMs?: number } = {}): Promise<QemuRun> {
  return new Promise((resolve, reject) => {
    const child = spawn("qemu-system-x86_64", qemuArguments(entry, options.append), {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill("SIGKILL");
    }, options.timeoutMs ?? 60_000);
    child.stdout.setEncoding("latin1").on("data", (text: string) => {
      output += text;
    });
    child.on("error", reject);
    child.on("close", code => {
      clearTimeout(timer);
      const lines = output.split("\n").map(line => line.replace(/\r$/, ""));
      if (lines.at(-1) === "") lines.pop();
      resolve({ lines, status: timedOut ? -1 : (code ?? -1) });
    });
  });
}

export interface Check {
  text: string;
  passed: boolean;
}

/** The checks in the order of their lines. A FAIL line's detail in brackets at the end is not part of the text. */
export function checksOf(lines: string[]): Check[] {
  const checks: Check[] = [];
  for (const line of lines) {
    if (line.startsWith("PASS ")) checks.push({ text: line.slice(5), passed: true });
    if (line.startsWith("FAIL ")) checks.push({ text: line.slice(5).replace(/ \(got .*\)$/, ""), passed: false });
  }
  return checks;
}

/** What is wrong with a run of `entry` on QEMU, apart from the known differences; empty when all is well. */
export function judge(entry: GuestEntry, run: QemuRun, differences: QemuDifference[]): string[] {
  const expectedToFail = new Set(differences.filter(d => d.guest === entry.name).map(d => d.check));
  const wrong: string[] = [];
  const checks = checksOf(run.lines);
  const failed = checks.filter(check => !check.passed).map(check => check.text);
  const texts = new Set<string>();
  for (const { text } of checks) {
    if (texts.has(text)) wrong.push(`two checks have the same text: ${text}`);
    texts.add(text);
  }
  for (const text of failed) if (!expectedToFail.has(text)) wrong.push(`failed: ${text}`);
  for (const text of expectedToFail)
    if (!failed.includes(text)) wrong.push(`listed as a difference, yet not failed: ${text}`);
  const status = expectedToFail.size > 0 ? 3 : entry.qemuStatus;
  if (run.status !== status) wrong.push(run.status === -1 ? "time limit" : `exit status ${run.status}, not ${status}`);
  return wrong;
}

/**
 * What differs between a guest's lines on QEMU and on another machine that follows the manuals: there, every check that
 * QEMU ran must be found and pass, those that QEMU is known to fail as well. Empty when all is well.
 */
export function compareWithQemu(qemuLines: string[], ourLines: string[]): string[] {
  const ours = new Map(checksOf(ourLines).map(check => [check.text, check.passed]));
  const wrong: string[] = [];
  for (const [text, passed] of ours) if (!passed) wrong.push(`failed: ${text}`);
  for (const { text } of checksOf(qemuLines)) if (!ours.has(text)) wrong.push(`ran on QEMU only: ${text}`);
  return wrong;
}

async function main(names: string[]): Promise<number> {
  const differences = readDifferences();
  const entries = readManifest().filter(entry => names.length === 0 || names.includes(entry.name));
  let bad = 0;
  console.log(`${"guest".padEnd(18)}${"pass".padStart(5)}${"fail".padStart(5)}${"skip".padStart(5)}  status  ms`);
  for (const entry of entries) {
    const start = Date.now();
    const run = await runOnQemu(entry);
    const checks = checksOf(run.lines);
    const count = (n: number): string => `${n}`.padStart(5);
    const passed = checks.filter(check => check.passed).length;
    const skipped = run.lines.filter(line => line.startsWith("SKIP ")).length;
    const row = `${entry.name.padEnd(18)}${count(passed)}${count(checks.length - passed)}${count(skipped)}`;
    console.log(`${row}  ${`${run.status}`.padEnd(6)}  ${Date.now() - start}`);
    const wrong = judge(entry, run, differences);
    for (const line of wrong) console.log(`    ${line}`);
    if (wrong.length > 0) bad++;
  }
  console.log(bad === 0 ? "all as expected" : `${bad} guests not as expected`);
  return bad === 0 ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main(process.argv.slice(2));
