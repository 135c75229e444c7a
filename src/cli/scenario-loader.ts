/**
 * Loads a scenario: a TypeScript file whose default export comes from `scenario()`. esbuild turns the file and what it imports into one module, which
 * is imported from a temporary file (Node maps places back to the sources for files only, not for data URLs); "iretq" and "iretq/kernel" in it are the
 * modules of the command that runs, wherever the scenario lies. Types are not checked: that is an editor's and tsc's work.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build, type BuildFailure, type Plugin } from "esbuild";
import { HostError, ModelBug } from "../base/assert.ts";
import type { Scenario } from "../machine/scenario.ts";

const UNUSABLE = 66;
/** Where the package's own modules are: beside the built command, or in the sources. */
function ownModule(built: string, source: string): string {
  const here = new URL(built, import.meta.url);
  return existsSync(fileURLToPath(here)) ? here.href : new URL(source, import.meta.url).href;
}

const ownModules: Plugin = {
  name: "iretq",
  setup({ onResolve }) {
    onResolve({ filter: /^iretq$/ }, () => ({ path: ownModule("index.js", "../index.ts"), external: true }));
    onResolve({ filter: /^iretq\/kernel$/ }, () => ({
      path: ownModule("kernel.js", "../kernel/index.ts"),
      external: true,
    }));
  },
};

async function bundle(path: string): Promise<string> {
  try {
    const { outputFiles } = await build({
      entryPoints: [path],
      bundle: true,
      write: false,
      format: "esm",
      platform: "node",
      target: "node20",
      sourcemap: "inline",
      sourcesContent: false,
      // Places in the source map are absolute then.
      outdir: "/",
      logLevel: "silent",
      plugins: [ownModules],
    });
    return outputFiles[0]!.text;
  } catch (error) {
    const { errors = [] } = error as Partial<BuildFailure>;
    const first = errors[0];
    if (first === undefined) throw error;
    const { location, text } = first;
    const place = location === null ? path : `${location.file}:${location.line}`;
    throw new HostError(`${place}: ${text}`, UNUSABLE);
  }
}

/** Throws {@link HostError} with status 66 and the place, when the file is no scenario. */
export async function loadScenario(path: string): Promise<Scenario> {
  if (!existsSync(path)) throw new HostError(`${path}: no such file or directory`, UNUSABLE);
  const code = await bundle(path);
  process.setSourceMapsEnabled(true);
  let module: { default?: Partial<Scenario> };
  const folder = mkdtempSync(join(tmpdir(), "iretq-"));
  try {
    const file = join(folder, "scenario.mjs");
    writeFileSync(file, code);
    module = await import(pathToFileURL(file).href);
  } catch (error) {
    throw scenarioError(error, path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  if (module.default?.kind !== "scenario")
    throw new HostError(`${path}:1: has no default export made by scenario()`, UNUSABLE);
  return module.default as Scenario;
}

/** What a scenario threw, as one line with the place in its file; anything that is not the scenario's doing comes back as it is. */
export function scenarioError(error: unknown, path: string): unknown {
  if (error instanceof ModelBug) return error;
  const message = error instanceof Error ? error.message : String(error);
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  const line = placeIn(stack, path);
  if (error instanceof HostError)
    return line === null || message.includes(basename(path))
      ? error
      : new HostError(`${path}:${line}: ${message}`, error.status);
  const kind = error instanceof Error ? error.name : "thrown";
  if (line === null && !(error instanceof RangeError))
    return error instanceof Error ? error : new HostError(`${path}: ${message}`, UNUSABLE);
  return new HostError(`${path}${line === null ? "" : `:${line}`}: ${kind}: ${message}`, UNUSABLE);
}

/** Line of the innermost call in the file itself. */
function placeIn(stack: string, path: string): number | null {
  const full = resolve(path);
  for (const line of stack.split("\n")) {
    const match = /(?:file:\/\/)?(\/[^():]+):(\d+)(?::\d+)?\)?$/.exec(line.trim());
    if (match !== null && (match[1] === full || match[1]!.endsWith(`/${basename(path)}`))) return Number(match[2]);
  }
  return null;
}
