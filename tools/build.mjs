/**
 * Builds dist/ (or the folder that is given): the command as one file, and the interpreter's WebAssembly module made ahead of time, so that a run starts
 * faster.
 */
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
  // Only disassembly needs it, and it is large: loaded when asked for.
  external: ["iced-x86"],
  legalComments: "none",
  logLevel: "warning",
};

await rm(dist, { recursive: true, force: true });
await build({
  ...common,
  entryPoints: ["src/cli/main.ts"],
  outfile: `${dist}/iretq.js`,
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
