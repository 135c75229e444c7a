/**
 * What README.md promises: its look at the demonstration (all but durations, which change with the guest's code), the log sample, every option, the version of
 * the report.
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { MIB } from "../../src/base/units.ts";
import { InterruptStats } from "../../src/check/interrupt-stats.ts";
import { eventNames } from "../../src/cli/event-names.ts";
import { parseCommandLine } from "../../src/cli/options.ts";
import { makeReport, REPORT_VERSION } from "../../src/export/report.ts";
import { reportText } from "../../src/export/report-text.ts";
import { parseLogSelection, TextLog } from "../../src/export/text-log.ts";
import { Pc } from "../../src/machine/pc.ts";

const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");

/** The demonstration's output, table and log. */
function demo(): { output: string; table: string[]; log: string[] } {
  const bytes = new Uint8Array(readFileSync(new URL("../../guests/demo.elf", import.meta.url)));
  let output = "";
  const log: string[] = [];
  const pc = new Pc({
    cpus: 2,
    memory: 64 * MIB,
    image: { name: "demo.elf", bytes, args: "" },
    onSerial: byte => {
      output += String.fromCharCode(byte);
    },
  });
  const stats = new InterruptStats(2);
  pc.trace.listen(stats, InterruptStats.KINDS);
  pc.trace.listen(new TextLog(eventNames(pc), line => log.push(line)), parseLogSelection("line,irq"));
  let exit = null;
  while (exit === null) exit = pc.run(pc.retired + 1_000_000);
  const facts = { instructions: pc.retired, virtualNs: pc.clock.now(), exit, stateHash: null, inputs: [], notes: [] };
  return { output, table: reportText(makeReport(facts, stats, eventNames(pc))), log };
}

/** Without what changes with the guest's code: durations, instants, numbers of events; widths of columns. */
const stable = (line: string): string =>
  line
    .replace(/[\d.]+ (?:ns|us|ms|s|M)\b/g, "…")
    .replace(/^\s*\d{5,} /, "")
    .replace(/ ?(?:<- )?#\d+/g, "")
    .replace(/\s+/g, " ")
    .trim();

test("the look at the demonstration is what it prints", () => {
  const { output, table, log } = demo();
  const real = new Set([...output.split(/\r?\n/), ...table, ...log].map(stable));
  // Every second piece between fences is a block; those without a language show output.
  const blocks = readme.split("```").filter((text, i) => i % 2 === 1 && text.startsWith("\n"));
  const shown = blocks
    .flatMap(block => block.split("\n"))
    .filter(line => !/^\[\.\.\.\]$|^\$ /.test(line))
    .map(stable);
  expect(shown.length).toBeGreaterThan(10);
  expect(shown.filter(line => !real.has(line))).toEqual([]);
});

test("every option is in the table, and nothing else", () => {
  let help = "";
  parseCommandLine(["run", "--help"], text => {
    help += text;
  });
  const offered = [...help.matchAll(/^ +(--[\w-]+)/gm)].map(([, name]) => name).sort();
  const described = [...readme.matchAll(/^\| `(--[\w-]+)/gm)].map(([, name]) => name).sort();
  expect(described).toEqual(offered);
});

test("the report has the version that is described", () => {
  expect(/^\| `version`\s*\| (\d+);/m.exec(readme)?.[1]).toBe(String(REPORT_VERSION));
});
