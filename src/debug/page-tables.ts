/**
 * Page tables as somebody sees them who looks and touches nothing: no accessed or dirty flags, no TLB, no rights. Intel SDM vol. 3A, chapter 4. A table
 * that lies outside RAM ends the walk. What a processor's TLB still holds of older tables is not seen here.
 */
import { PAGE } from "../base/units.ts";
import type { X86Cpu } from "../cpu/cpu.ts";
import * as L from "../cpu/layout.ts";
import { CR0, CR4, EFER } from "../cpu/system/control-bits.ts";
import { PAGE_KIND } from "../ports/cpu-bus.ts";

const P = 1n;
const PS = 0x80n;
const FRAME = 0xfffffff000n;
const CANONICAL = 2 ** 47;

/** One entry on the way. */
export type Level = { readonly name: string; readonly address: number; readonly entry: bigint };
export type Walk = {
  readonly levels: readonly Level[];
  /** Physical address, null when an entry is not present (or cannot be looked at). */
  readonly physical: number | null;
  /** Bytes of the page that the address lies in. */
  readonly pageSize: number;
};

type Scheme = {
  readonly names: readonly string[];
  readonly root: number;
  readonly entryBytes: 4 | 8;
  readonly bits: number;
};

/**
 * Copies physical memory that is RAM or ROM, at most to the end of its page; null for anything else. Through the processor's A20 gate, and as it sees it
 * itself: with its stores that still wait in its store buffer, which stay there.
 */
export function peek(cpu: X86Cpu, physical: number, length: number): Uint8Array | null {
  const { bus, state } = cpu.ctx;
  const page = Math.floor(physical / PAGE);
  if (physical < 0 || page >= 2 ** 32 || bus.lookup(page) > PAGE_KIND.rom) return null;
  const offset = physical % PAGE;
  const from = bus.pageOffset + offset;
  const bytes = state.u8.slice(from, from + Math.min(length, PAGE - offset));
  bus.caches?.overlay(from - cpu.ctx.ram.base, bytes);
  return bytes;
}

function entryAt(cpu: X86Cpu, address: number, size: 4 | 8): bigint | null {
  const bytes = peek(cpu, address, size);
  if (bytes === null) return null;
  const view = new DataView(bytes.buffer);
  return size === 8 ? view.getBigUint64(0, true) : BigInt(view.getUint32(0, true));
}

/** Translates a linear address by the tables that CR3 points at now. */
export function walk(cpu: X86Cpu, linear: number): Walk {
  const s = cpu.ctx.state;
  const long = (s.lo(L.EFER) & EFER.lma) !== 0;
  if (!long) linear = Number(BigInt.asUintN(32, BigInt(linear)));
  if ((s.int(L.CR0) & CR0.pg) === 0) return { levels: [], physical: linear, pageSize: PAGE };
  if (linear >= CANONICAL || linear < -CANONICAL) return { levels: [], physical: null, pageSize: PAGE };
  const pae = (s.int(L.CR4) & CR4.pae) !== 0;
  const cr3 = s.big(L.CR3);
  if (long)
    return descend(cpu, linear, { names: ["PML4E", "PDPTE", "PDE", "PTE"], root: frame(cr3), entryBytes: 8, bits: 9 });
  if (pae) return walkPae(cpu, linear);
  return descend(cpu, linear, { names: ["PDE", "PTE"], root: frame(cr3), entryBytes: 4, bits: 10 });
}

const frame = (entry: bigint): number => Number(entry & FRAME);

/** The four upper entries of PAE paging lie in the processor. */
function walkPae(cpu: X86Cpu, linear: number): Walk {
  const s = cpu.ctx.state;
  const index = linear >>> 30;
  const entry = s.big(L.PDPTE + index * 8);
  const first = { name: "PDPTE", address: (s.lo(L.CR3) & ~31) + index * 8, entry };
  if ((entry & P) === 0n) return { levels: [first], physical: null, pageSize: PAGE };
  const rest = descend(cpu, linear, { names: ["PDE", "PTE"], root: frame(entry), entryBytes: 8, bits: 9 });
  return { ...rest, levels: [first, ...rest.levels] };
}

function descend(cpu: X86Cpu, linear: number, scheme: Scheme): Walk {
  const { names, entryBytes, bits } = scheme;
  const address = BigInt.asUintN(48, BigInt(linear));
  const levels: Level[] = [];
  let table = scheme.root;
  for (const [i, name] of names.entries()) {
    const shift = 12 + (names.length - 1 - i) * bits;
    const index = Number((address >> BigInt(shift)) & BigInt(2 ** bits - 1));
    const entry = entryAt(cpu, table + index * entryBytes, entryBytes);
    if (entry === null) return { levels, physical: null, pageSize: PAGE };
    levels.push({ name, address: table + index * entryBytes, entry });
    if ((entry & P) === 0n) return { levels, physical: null, pageSize: PAGE };
    const last = i === names.length - 1;
    if (last || isLarge(cpu, name, entry, entryBytes)) {
      const inside = address & ((1n << BigInt(shift)) - 1n);
      return { levels, physical: pageBase(entry, shift, entryBytes) + Number(inside), pageSize: 2 ** shift };
    }
    table = frame(entry);
  }
  return { levels, physical: null, pageSize: PAGE };
}

function isLarge(cpu: X86Cpu, name: string, entry: bigint, entryBytes: number): boolean {
  if ((entry & PS) === 0n || name === "PML4E") return false;
  return entryBytes === 8 || (cpu.ctx.state.int(L.CR4) & CR4.pse) !== 0;
}

function pageBase(entry: bigint, shift: number, entryBytes: number): number {
  const low = Number(entry & FRAME & ~((1n << BigInt(shift)) - 1n));
  // PSE-36: bits 20:13 of a 4 MiB entry are address bits 39:32.
  return shift === 22 && entryBytes === 4 ? low + Number((entry >> 13n) & 0xffn) * 2 ** 32 : low;
}

/** Names of the flags that are set in an entry. */
export function entryFlags(entry: bigint): string {
  const flags: readonly (readonly [bigint, string])[] = [
    [1n << 63n, "NX"],
    [0x100n, "G"],
    [0x80n, "PS"],
    [0x40n, "D"],
    [0x20n, "A"],
    [0x10n, "PCD"],
    [8n, "PWT"],
    [4n, "U"],
    [2n, "W"],
    [P, "P"],
  ];
  return flags
    .filter(([bit]) => (entry & bit) !== 0n)
    .map(([, name]) => name)
    .join(" ");
}
