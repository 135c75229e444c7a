/**
 * Builds dist/: the command as one file, and the interpreter's WebAssembly module made ahead of time, so that a run starts faster.
 */
import { chmod, rm, writeFile } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
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

await rm(`${root}/dist`, { recursive: true, force: true });
await build({
  ...common,
  entryPoints: ["src/cli/main.ts"],
  outfile: "dist/iretq.js",
  // commander is CommonJS inside: it requires node's own modules.
  banner: {
    js: '#!/usr/bin/env node\nimport { createRequire } from "node:module";\nconst require = createRequire(import.meta.url);',
  },
});
await chmod(`${root}/dist/iretq.js`, 0o755);

const engine = `${root}/dist/engine.mjs`;
await build({ ...common, entryPoints: ["src/cpu/engine.ts"], outfile: engine });
const { interpreterBytes, isa } = await import(pathToFileURL(engine).href);
await writeFile(`${root}/dist/interpreter.wasm`, interpreterBytes());
// Generated code calls helpers by their place in this list.
await writeFile(`${root}/dist/interpreter.json`, JSON.stringify(isa().set.helperNames));
await rm(engine);
