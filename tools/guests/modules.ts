/**
 * Kernel modules with what they depend on, in the order in which insmod takes them. The package brings no modules.dep (depmod writes that when a kernel is
 * installed), so the names come from the modules themselves: `depends=a,b` in their .modinfo section.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

export type KernelModule = {
  /** As insmod and `depends` write it: with underscores. */
  readonly name: string;
  readonly bytes: Uint8Array;
};

const nameOf = (path: string): string => basename(path, ".ko").replaceAll("-", "_");

/** `depends=` of a module's .modinfo. */
function dependencies(bytes: Uint8Array): string[] {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const at = text.indexOf("\0depends=");
  if (at < 0) return [];
  const start = at + "\0depends=".length;
  const list = text.toString("latin1", start, text.indexOf(0, start));
  return list === "" ? [] : list.split(",").map(nameOf);
}

/** Names of unpacked kernel packages in the cache. */
const PACKAGES = { cloud: /^x-linux-image-.*-cloud-amd64$/, amd64: /^x-linux-image-[\d.]+-\d+-amd64$/ } as const;

/** Where {@link file:./linux.ts} has unpacked a kernel's modules, null when it has not. */
export function moduleFolder(cache: string, kernel: keyof typeof PACKAGES = "cloud"): string | null {
  if (!existsSync(cache)) return null;
  const unpacked = readdirSync(cache).filter(name => PACKAGES[kernel].test(name));
  const folders = unpacked.map(name => join(cache, name, "lib", "modules"));
  return folders.find(folder => existsSync(folder)) ?? null;
}

/** The named modules and all that they need, each once and behind what it needs. Throws when one is missing. */
export function modulesFor(folder: string, names: readonly string[]): KernelModule[] {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter(path => path.endsWith(".ko"));
  const paths = new Map(files.map(path => [nameOf(path), join(folder, path)]));
  const found = new Map<string, KernelModule>();
  const add = (name: string): void => {
    if (found.has(name)) return;
    const path = paths.get(name);
    if (path === undefined) throw new Error(`the kernel's package has no module ${name}`);
    const bytes = new Uint8Array(readFileSync(path));
    for (const needed of dependencies(bytes)) add(needed);
    found.set(name, { name, bytes });
  };
  for (const name of names) add(nameOf(name));
  return [...found.values()];
}
