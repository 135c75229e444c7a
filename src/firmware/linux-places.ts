/** What a Linux kernel is given beside itself, whichever way it starts: room, an initrd, a command line. */
import { HostError } from "../base/assert.ts";
import { alignDown, alignUp } from "../base/int.ts";
import { MIB, PAGE, type PhysAddr } from "../base/units.ts";
import type { BootFile, MemoryFacts } from "./boot-plan.ts";
import { checkInitrd } from "./initrd.ts";
import type { LayoutPlan } from "./layout-plan.ts";

/** An initrd as the kernel is told about it; without one, both are 0. */
export type PlacedInitrd = { readonly address: PhysAddr; readonly size: number };

/** What a kernel says of an initrd and of its command line, or would say if it had a header. */
export const LIMITS = { initrdMax: 0x7fffffff, commandLineMax: 2047 } as const;
type Limits = { readonly initrdMax: PhysAddr; readonly commandLineMax: number };

/** Refuses when RAM ends before `end`. */
export function requireMemory(image: BootFile, facts: MemoryFacts, what: string, end: PhysAddr): void {
  if (end <= facts.lowBytes) return;
  const [need, have] = [Math.ceil(end / MIB), Math.floor(facts.lowBytes / MIB)];
  throw new HostError(`${image.name}: too large for memory: ${what} ${need}M, there are ${have}M`, 66);
}

/** As high as it may lie, so that the kernel has its surroundings free. @param end first byte that neither kernel nor decompressor uses */
export function placeInitrd(
  plan: LayoutPlan,
  image: BootFile,
  facts: MemoryFacts,
  initrd: BootFile | null,
  end: PhysAddr,
  limits: Limits,
): PlacedInitrd {
  if (initrd === null) return { address: 0, size: 0 };
  const size = initrd.bytes.length;
  if (size === 0) throw new HostError(`${initrd.name}: the initrd is empty`, 66);
  checkInitrd(initrd);
  const lowest = alignUp(end, PAGE);
  requireMemory(image, facts, "kernel and initrd need", lowest + alignUp(size, PAGE));
  const top = Math.min(facts.lowBytes, limits.initrdMax + 1);
  const address = alignDown(top - size, PAGE);
  if (address < lowest) {
    const limit = Math.floor((limits.initrdMax + 1) / MIB);
    throw new HostError(`${image.name}: the initrd does not fit between the kernel and ${limit}M, its limit`, 66);
  }
  plan.place(`the initrd ${initrd.name}`, address, initrd.bytes);
  return { address, size };
}

/** The command line with its zero. */
export function commandLineBytes(image: BootFile, { commandLineMax }: Limits): Uint8Array {
  const text = new TextEncoder().encode(image.args);
  if (text.length > commandLineMax) {
    const lengths = `a command line of ${commandLineMax} bytes, this one has ${text.length}`;
    throw new HostError(`${image.name}: takes ${lengths}`, 66);
  }
  return Uint8Array.of(...text, 0);
}

/** Finds room below 1 MiB (or above everything) and puts something small there. Returns its address. */
export function placeSmall(plan: LayoutPlan, what: string, bytes: Uint8Array, alignment = 16): PhysAddr {
  const address = alignUp(plan.roomForTables(bytes.length + alignment - 16), alignment);
  plan.place(what, address, bytes);
  return address;
}
