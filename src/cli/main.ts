/**
 * `iretq`: the command. Exit statuses: 0 the guest powered off; odd: the guest's own; 64 bad usage; 66 unusable image; 70 triple fault (or a bug of
 * ours); 72 a limit was reached; 74 host I/O failed; 130 interrupted.
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { HostError, ModelBug } from "../base/assert.ts";
import { usePrebuiltInterpreter } from "../cpu/engine.ts";
import { dumpTables } from "./acpi-dump.ts";
import { parseCommandLine, type RunOptions } from "./options.ts";
import { Session } from "./session.ts";

/** The bundled demonstration, seen from dist/iretq.js or from src/cli/main.ts. */
function demoPath(): string {
  const candidates = ["../guests/demo.elf", "../../guests/demo.elf"].map(path =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  return candidates.find(path => existsSync(path)) ?? candidates[0]!;
}

/** The built package has the interpreter's module ready; from the sources it is made when needed. */
function findInterpreter(): void {
  const code = fileURLToPath(new URL("interpreter.wasm", import.meta.url));
  if (existsSync(code)) usePrebuiltInterpreter(new Uint8Array(readFileSync(code)));
}

async function run(options: RunOptions): Promise<number> {
  const { image } = options;
  if (image === null || !/\.[cm]?[tj]s$/.test(image)) return await new Session(options, demoPath()).run();
  // Only scenarios need a compiler.
  const { loadScenario, scenarioError } = await import("./scenario-loader.ts");
  const scenario = await loadScenario(image);
  try {
    return await new Session(options, demoPath(), scenario).run();
  } catch (error) {
    throw scenarioError(error, image);
  }
}

async function main(): Promise<number> {
  // Whoever read our output may have gone (`iretq --help | head -1`): no reason for a stack trace. A run looks at this more closely (console.ts).
  process.stdout.on("error", () => {});
  process.stderr.on("error", () => {});
  try {
    const parsed = parseCommandLine(process.argv.slice(2), text => process.stdout.write(text));
    if (parsed.kind === "help") return 0;
    if (parsed.kind === "acpi") {
      dumpTables(parsed.options, line => process.stdout.write(`${line}\n`));
      return 0;
    }
    findInterpreter();
    return await run(parsed.options);
  } catch (error) {
    if (error instanceof HostError) {
      process.stderr.write(`iretq: ${error.message}\n`);
      return error.status;
    }
    const place = error instanceof Error ? (error.stack?.split("\n")[1]?.trim() ?? "") : "";
    const what = error instanceof ModelBug ? error.message : String(error);
    process.stderr.write(`iretq: this is a bug in iretq, please report it: ${what} (${place})\n`);
    if (process.env.IRETQ_DEBUG !== undefined) process.stderr.write(`${String((error as Error).stack)}\n`);
    return 70;
  }
}

process.exitCode = (await main()) & 0xff;
