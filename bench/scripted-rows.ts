/**
 * The rows of scripted cores beside their aims: medians of some runs of scripted.ts, in turns, each a process of its own.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/** `aim` in millions per second; 0: none was set. */
type Row = { readonly name: string; readonly aim: number; readonly description: string };

const ROWS: readonly Row[] = [
  { name: "yields", aim: 5, description: "operation: compute(1)" },
  { name: "self-int", aim: 1, description: "interrupt: IPI to itself, a handler that is only its EOI" },
  { name: "kernel-int", aim: 0, description: "the same through the kernel's entry code, nested, with statistics" },
  { name: "ping-pong", aim: 3, description: "event: a device's alarm, and the interrupt whose handler arms it" },
];
/** All of them. */
const GROUP = "scripted";

export const SCRIPTED_ROWS: readonly string[] = [GROUP, ...ROWS.map(({ name }) => name)];

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

/** Million things per second of one row: on a core, and its generators alone. */
function once(program: string, row: string): [number, number] {
  const { status, stdout, stderr } = spawnSync("node", [program, row], { encoding: "utf8" });
  if (status !== 0) throw new Error(`scripted cores, row ${row}: ${stderr}`);
  return JSON.parse(stdout) as [number, number];
}

/** The wanted rows as lines of text; an empty list wants all. @param runs how many of each */
export async function scriptedRows(wanted: readonly string[], runs: number): Promise<string[]> {
  const rows = ROWS.filter(({ name }) => wanted.length === 0 || wanted.includes(GROUP) || wanted.includes(name));
  if (rows.length === 0) return [];
  const folder = mkdtempSync(join(tmpdir(), "iretq-bench-"));
  const program = join(folder, "scripted.mjs");
  try {
    const entryPoints = [fileURLToPath(new URL("scripted.ts", import.meta.url))];
    const common = { bundle: true, platform: "node", target: "node20", format: "esm", logLevel: "error" } as const;
    await build({ ...common, entryPoints, outfile: program, external: ["iced-x86", "esbuild"] });
    const figures = rows.map((): [number, number][] => []);
    for (let run = 0; run < runs; run++) rows.forEach(({ name }, i) => void figures[i]!.push(once(program, name)));
    return [
      `${"row".padEnd(12)}${"iretq M/s".padStart(12)}${"aim M/s".padStart(10)}${"of aim".padStart(8)}${"generators M/s".padStart(16)}${"ratio".padStart(8)}  unit, per second of CPU time`,
      ...rows.map((row, i) => line(row, figures[i]!)),
      "",
    ];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function line({ name, aim, description }: Row, figures: readonly [number, number][]): string {
  const here = median(figures.map(([rate]) => rate));
  const alone = median(figures.map(([, rate]) => rate));
  const ratio = median(figures.map(([one, other]) => one / other));
  const aimed = aim > 0 ? [aim.toFixed(0), (here / aim).toFixed(2)] : ["-", "-"];
  const cells = [here.toFixed(2).padStart(12), aimed[0]!.padStart(10), aimed[1]!.padStart(8)];
  cells.push(alone.toFixed(1).padStart(16), ratio.toFixed(2).padStart(8));
  return `${name.padEnd(12)}${cells.join("")}  ${description}`;
}
