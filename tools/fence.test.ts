/**
 * Who may import whom, how long a file may be, and what may not be used below the command line. The table is the architecture (see ARCHITECTURE.md).
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SRC = join(ROOT, "src");
const MAX_LINES = 600;

/** Folder of src/ → folders whose modules it may import, besides its own. Siblings are strangers to each other: they meet in machine/. */
const MAY_IMPORT: { readonly [folder: string]: readonly string[] } = {
  base: [],
  sim: ["base"],
  ports: ["base", "sim"],
  memory: ["base", "sim", "ports"],
  intc: ["base", "sim", "ports"],
  cpu: ["base", "sim", "ports"],
  pci: ["base", "sim", "ports"],
  iommu: ["base", "sim", "ports"],
  dma: ["base", "sim", "ports"],
  net: ["base", "sim", "ports"],
  devices: ["base", "sim", "ports", "pci"],
  firmware: ["base", "ports"],
  kernel: ["base", "ports"],
  // The package's entry for programs.
  "index.ts": ["base", "sim", "ports", "machine", "check", "export"],
  machine: [...["base", "sim", "ports", "memory", "intc", "cpu", "pci", "iommu", "dma", "net", "devices", "firmware"]],
  check: ["base", "sim", "ports"],
  export: ["base", "sim", "ports", "check"],
  debug: ["base", "sim", "ports", "cpu", "machine", "check", "export"],
  cli: [
    ...["base", "sim", "ports", "memory", "intc", "cpu", "devices", "firmware", "machine", "check", "export", "debug"],
    ...["kernel"],
  ],
};
/** Packages that a folder may use, besides what tests use. */
const PACKAGES: { readonly [folder: string]: readonly string[] } = {
  export: ["@bufbuild/protobuf/wire"],
  firmware: ["fflate", "fzstd"],
  cli: ["commander", "valibot", "iced-x86", "esbuild"],
};
/** The host: only the command line knows that there is one. */
const HOST_FOLDERS = ["cli"];
const BANNED = [
  /\bDate\b/,
  /\bperformance\b/,
  /\bMath\.random\b/,
  /\bset(?:Timeout|Interval|Immediate)\b/,
  /\bprocess\./,
  /\bconsole\./,
];

type Module = { readonly path: string; readonly folder: string; readonly text: string; readonly isTest: boolean };

const isTestFile = (path: string): boolean =>
  /\.test\.ts$|\.contract\.ts$|\.testing\.ts$|-fixture\.ts$|\/fake-[\w-]+\.ts$|\/oracle\//.test(path);

const modules: Module[] = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .filter(path => path.endsWith(".ts"))
  .map(path => ({
    path: path.replaceAll("\\", "/"),
    folder: path.split(/[\\/]/)[0]!,
    text: readFileSync(join(SRC, path), "utf8"),
    isTest: isTestFile(path.replaceAll("\\", "/")),
  }));

/** Without comments and without what strings and patterns say. */
function code(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/(^|[^:])\/\/.*$/gm, "$1")
    .replace(/"(?:[^"\\\n]|\\.)*"/g, '""')
    .replace(/`(?:[^`\\]|\\.)*`/g, "``");
}

type Import = { readonly from: string; readonly typeOnly: boolean };

function importsOf(module: Module): Import[] {
  const found: Import[] = [];
  const statement = /^\s*(import|export)\s+(type\s+)?(?:[\w*{}\s,$]+?\s+from\s+)?"([^"]+)";?/gm;
  for (const [, , type, from] of module.text.matchAll(statement))
    found.push({ from: from!, typeOnly: type !== undefined });
  for (const [, from] of module.text.matchAll(/\bimport\("([^"]+)"\)/g)) found.push({ from: from!, typeOnly: false });
  return found;
}

/** Path below src/ of a relative import. */
const target = (module: Module, from: string): string =>
  relative(SRC, resolve(SRC, dirname(module.path), from)).replaceAll("\\", "/");

describe("the fence", () => {
  test("every folder of src/ is in the table", () => {
    const unknown = modules.filter(module => !(module.folder in MAY_IMPORT)).map(module => module.path);
    expect(unknown).toEqual([]);
  });

  test("imports point down, and siblings do not know each other", () => {
    const wrong: string[] = [];
    for (const module of modules) {
      const allowed = [module.folder, ...(MAY_IMPORT[module.folder] ?? [])];
      for (const { from } of importsOf(module)) {
        if (!from.startsWith(".")) continue;
        const to = target(module, from);
        const registers = to.endsWith(".regs.ts");
        // A test may bring its part together with anything below the machine.
        if (!allowed.includes(to.split("/")[0]!) && !registers && !module.isTest) wrong.push(`${module.path} -> ${to}`);
        if (!from.endsWith(".ts")) wrong.push(`${module.path}: "${from}" has no .ts`);
        if (!module.isTest && isTestFile(to)) wrong.push(`${module.path} uses the test helper ${to}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("packages are used where the table says", () => {
    const wrong: string[] = [];
    for (const module of modules) {
      if (module.isTest) continue;
      for (const { from } of importsOf(module)) {
        if (from.startsWith(".")) continue;
        const host = from.startsWith("node:") && HOST_FOLDERS.includes(module.folder);
        if (!host && !(PACKAGES[module.folder] ?? []).includes(from)) wrong.push(`${module.path} -> ${from}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("nothing below the command line knows the host's time, chance, or process", () => {
    const wrong: string[] = [];
    for (const module of modules) {
      if (module.isTest || HOST_FOLDERS.includes(module.folder)) continue;
      const text = code(module.text);
      for (const banned of BANNED) if (banned.test(text)) wrong.push(`${module.path}: ${banned.source}`);
    }
    expect(wrong).toEqual([]);
  });

  test(`no source file has more than ${MAX_LINES} lines`, () => {
    const long = modules
      .filter(module => !module.isTest)
      .map(module => ({ path: module.path, lines: module.text.split("\n").length - 1 }))
      .filter(({ lines }) => lines > MAX_LINES);
    expect(long).toEqual([]);
  });

  test("no modules import each other in a circle (by value)", () => {
    const graph = new Map(
      modules.map(module => [
        module.path,
        importsOf(module)
          .filter(({ from, typeOnly }) => from.startsWith(".") && !typeOnly)
          .map(({ from }) => target(module, from)),
      ]),
    );
    const done = new Set<string>();
    const circles: string[] = [];
    const visit = (path: string, trail: readonly string[]): void => {
      const at = trail.indexOf(path);
      if (at >= 0) {
        circles.push([...trail.slice(at), path].join(" -> "));
        return;
      }
      if (done.has(path)) return;
      for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
      done.add(path);
    };
    for (const path of graph.keys()) visit(path, []);
    expect(circles).toEqual([]);
  });

  test("the checks themselves see what they should", () => {
    const sample = {
      path: "intc/x.ts",
      folder: "intc",
      isTest: false,
      text: 'import type { A } from "../cpu/a.ts";\nimport {\n  b,\n} from "./b.ts";\n',
    };
    expect(importsOf(sample)).toEqual([
      { from: "../cpu/a.ts", typeOnly: true },
      { from: "./b.ts", typeOnly: false },
    ]);
    expect(target(sample, "../cpu/a.ts")).toBe("cpu/a.ts");
    expect(code('// Date\nconst a = "Date"; /* Date */')).not.toMatch(/Date/);
  });
});
