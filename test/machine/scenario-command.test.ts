/**
 * `iretq run scenario.ts` as users meet it: the examples, the same report and statuses as of a kernel image, one line with its place for every mistake.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "iretq-"));
const built = join(root, ".cache/command-scenario");

beforeAll(() => {
  execFileSync("node", [join(root, "tools/build.mjs"), built, "--types"]);
}, 120_000);

function iretq(...args: string[]) {
  const { status, stdout, stderr } = spawnSync("node", [join(built, "iretq.js"), ...args], { encoding: "utf8" });
  return { status, stdout, stderr };
}
const example = (name: string): string => join(root, "examples", name);
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const HEAD = 'import { scenario } from "iretq";\nimport { compute, Kernel } from "iretq/kernel";\n';

describe("the examples, in reading order", () => {
  test("1: a key's two scan codes come by interrupt; the report has the table's row and the cost table", () => {
    const report = join(folder, "report.json");
    const run = iretq("run", example("1-first-interrupt.ts"), "--report", report, "--state-hash");
    expect(run).toMatchObject({ status: 0, stdout: "scan code 0x1e\nscan code 0x9e\n" });
    expect(run.stderr).toMatch(/keyboard \(I\/O APIC pin 1\) +2 /);
    expect(run.stderr).toContain('note: cost table "fixed"');
    const json = JSON.parse(readFileSync(report, "utf8"));
    expect(json.exit).toMatchObject({ kind: "power-off", status: 0 });
    expect(json.interrupts[0]).toMatchObject({ count: 2, eois: 2 });
    const again = iretq("run", example("1-first-interrupt.ts"), "--report", report, "--state-hash");
    expect(JSON.parse(readFileSync(report, "utf8")).stateHash).toBe(json.stateHash);
    expect(again.stdout).toBe(run.stdout);
  });

  test("2: two devices on one level-triggered line: each request is served, two at once by one interrupt", () => {
    const run = iretq("run", example("2-shared-line.ts"));
    expect(run).toMatchObject({ status: 0, stdout: "device 0 was served 3 times, device 1 2 times\n" });
  });

  test("3: four priorities nest in their order; a trace is written", () => {
    const trace = join(folder, "nested.pftrace");
    const run = iretq("run", example("3-nested-priorities.ts"), "--trace", trace);
    expect(run.status).toBe(0);
    const names = run.stdout.split("\n").map(line => line.replace(/^\d+ ns: +/, ""));
    const order = ["low", "normal", "high", "critical"];
    expect(names).toEqual([...order.map(n => `${n} begins`), ...order.toReversed().map(n => `${n} ends`), ""]);
    expect(readFileSync(trace).length).toBeGreaterThan(500);
    expect(run.stderr).toContain('cost table "desktop"');
    expect(iretq("run", example("3-nested-priorities.ts"), "--costs", "fixed").stderr).toContain('cost table "fixed"');
  });
});

describe("the examples about DMA", () => {
  test("4: three buffers are gathered by one request with one interrupt", () => {
    const run = iretq("run", example("4-scatter-gather.ts"));
    expect(run.stdout).toBe(
      "scattered in memory, gathered by one request\n" +
        "3 descriptors, 44 bytes, status 0, 1 interrupt; the CPU worked meanwhile\n",
    );
    expect(run.status).toBe(0);
  });

  test("5: without the flush or without the invalidation data is wrong, with both it is right; twice the same", () => {
    const report = join(folder, "report.json");
    const hashes = [0, 1].map(() => {
      const run = iretq("run", example("5-non-coherent.ts"), "--report", report, "--state-hash");
      expect(run).toMatchObject({
        status: 0,
        stdout:
          "flushed before, invalidated after: right\n" +
          "not flushed before, invalidated after: wrong, 0\n" +
          "flushed before, not invalidated after: wrong, 0\n",
      });
      return JSON.parse(readFileSync(report, "utf8")).stateHash;
    });
    expect(hashes[0]).toBe(hashes[1]);
  });
});

describe("one line for every mistake, with the place", () => {
  const cases: [string, string, RegExp][] = [
    ["syntax.ts", `${HEAD}const x = ;\n`, /syntax\.ts:3: Unexpected ";"$/],
    ["throws.ts", `${HEAD}\nthrow new Error("no way");\n`, /throws\.ts:4: Error: no way$/],
    ["none.ts", "export const a = 1;\n", /none\.ts:1: has no default export made by scenario\(\)$/],
    [
      "import.ts",
      'import { x } from "./nothing.ts";\nexport default x;\n',
      /import\.ts:1: Could not resolve "\.\/nothing\.ts"$/,
    ],
    [
      "later.ts",
      `${HEAD}export default scenario({}, m =>\n  m.setProgram(0, function* () {\n    yield* compute(10);\n    throw new TypeError("half way");\n  }),\n);\n`,
      /later\.ts:6: TypeError: half way$/,
    ],
    [
      "range.ts",
      `${HEAD}export default scenario({}, m => {\n  new Kernel(m).install({ number: 300, handler: () => compute(1) as never });\n});\n`,
      /range\.ts:4: RangeError: interrupt number 300: must be 0 to 255$/,
    ],
    [
      "host.ts",
      `${HEAD}export default scenario({}, m => {\n  m.line(99);\n});\n`,
      /host\.ts:4: this board has no interrupt line 99$/,
    ],
  ];
  test.each(cases)("%s", (name, text, expected) => {
    const { status, stdout, stderr } = iretq("run", file(name, text));
    expect(stdout).toBe("");
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    expect(stderr.trimEnd()).toMatch(expected);
    expect(status).toBe(66);
  });

  test("a file that is not there, a cost table that nobody has", () => {
    expect(iretq("run", join(folder, "nowhere.ts"))).toMatchObject({ status: 66 });
    const wrong = iretq("run", example("1-first-interrupt.ts"), "--costs", "toaster");
    expect(wrong).toMatchObject({ status: 64 });
    expect(wrong.stderr).toContain("must be fixed, desktop or server");
  });
});

test("exit rules as of a kernel image: the guest's own status, nothing left to happen, a limit of time", () => {
  const exits = file(
    "exits.ts",
    'import { scenario } from "iretq";\nimport { out8, compute } from "iretq/kernel";\nexport default scenario({}, m => m.setProgram(0, function* () {\n  yield* out8(0xf4, 0x10);\n  yield* compute(1);\n}));\n',
  );
  expect(iretq("run", exits).status).toBe(0x21);
  const ends = file("ends.ts", `${HEAD}export default scenario({}, m => m.setProgram(0, function* () {}));\n`);
  const idle = iretq("run", ends);
  expect(idle.status).toBe(72);
  expect(idle.stderr).toContain("nothing is left that could wake one");
  const busy = file(
    "busy.ts",
    `${HEAD}export default scenario({}, m => m.setProgram(0, function* () { for (;;) yield* compute(1000); }));\n`,
  );
  const limited = iretq("run", busy, "--max-time", "1ms");
  expect(limited.status).toBe(72);
  expect(limited.stderr).toContain("stopped after 1.00 ms of virtual time");
});

test("the modules for programs: iretq and iretq/kernel are there with their types, and are the command's own", async () => {
  const module = await import(join(built, "index.js"));
  const kernel = await import(join(built, "kernel.js"));
  expect(Object.keys(module)).toEqual(expect.arrayContaining(["scenario", "ScriptedMachine", "Pc", "HostError"]));
  expect(Object.keys(kernel)).toEqual(expect.arrayContaining(["Kernel", "compute", "load32", "COST_TABLES"]));
  expect(kernel.COST_TABLES).toBe(module.COST_TABLES);
  for (const types of ["index.d.ts", "kernel/index.d.ts"])
    expect(readFileSync(join(built, "types", types), "utf8")).toContain("export");
});
