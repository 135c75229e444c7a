/**
 * Builds dist/, or the folder that is given: the command, the modules "iretq" and "iretq/kernel" (all three share their code, so that a scenario and the
 * command that runs it have the same classes), and the interpreter's WebAssembly module made ahead of time, so that a run starts faster. The types of
 * the modules are made for dist/, elsewhere only with --types.
 */
import { spawnSync } from "node:child_process";
import { chmod, rm, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const dist = resolve(root, process.argv[2] ?? "dist");
const common = {
  absWorkingDir: root,
  bundle: true,
  platform: "node",
  target: "node20",
  format: "esm",
  // Only disassembly needs iced-x86, and it is large; only scenarios need esbuild: loaded when asked for.
  external: ["iced-x86", "esbuild"],
  legalComments: "none",
  logLevel: "warning",
};

await rm(dist, { recursive: true, force: true });
await build({
  ...common,
  entryPoints: { iretq: "src/cli/main.ts", index: "src/index.ts", kernel: "src/kernel/index.ts" },
  outdir: dist,
  splitting: true,
  chunkNames: "part-[hash]",
  // commander is CommonJS inside: it requires node's own modules.
  banner: {
    js: '#!/usr/bin/env node\nimport { createRequire as makeRequire } from "node:module";\nconst require = makeRequire(import.meta.url);',
  },
});
await chmod(`${dist}/iretq.js`, 0o755);

const engine = `${dist}/engine.mjs`;
await build({ ...common, entryPoints: ["src/cpu/engine.ts"], outfile: engine });
const { interpreterBytes } = await import(pathToFileURL(engine).href);
await writeFile(`${dist}/interpreter.wasm`, interpreterBytes());
await rm(engine);

// Types as declarations for whoever installs the package, whatever errors the sources have: `npm run check` is for these.
const wanted = process.argv[2] === undefined || process.argv.includes("--types");
const typescript = new URL("../node_modules/typescript/bin/tsc", import.meta.url);
if (wanted)
  spawnSync("node", [fileURLToPath(typescript), "-p", "tools/types.json", "--outDir", `${dist}/types`], { cwd: root });
