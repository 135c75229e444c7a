/**
 * Memory for a debugger: linear addresses through a processor's page tables, or physical ones. Device registers are neither read nor written, since that
 * could change the machine; ROM is not written.
 */
import { PAGE } from "../base/units.ts";
import type { X86Cpu } from "../cpu/cpu.ts";
import type { Pc } from "../machine/pc.ts";
import { PAGE_KIND } from "../ports/cpu-bus.ts";
import { peek, walk } from "./page-tables.ts";

/** Physical address of a debugger's address, null for none. */
function resolve(cpu: X86Cpu, address: number, physical: boolean): number | null {
  return physical ? address : walk(cpu, address).physical;
}

/** As many of `length` bytes as can be read, null for none. */
export function readMemory(cpu: X86Cpu, address: number, length: number, physical: boolean): Uint8Array | null {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const at = resolve(cpu, address + done, physical);
    const piece = at === null ? null : peek(cpu, at, length - done);
    if (piece === null) break;
    bytes.set(piece, done);
    done += piece.length;
  }
  return done === 0 && length > 0 ? null : bytes.subarray(0, done);
}

/** False: some of it is not RAM; then nothing was written. Decoded code of the pages is thrown away. */
export function writeMemory(pc: Pc, cpu: X86Cpu, address: number, bytes: Uint8Array, physical: boolean): boolean {
  const pieces: { readonly to: number; readonly from: number; readonly length: number }[] = [];
  for (let done = 0; done < bytes.length; ) {
    const at = resolve(cpu, address + done, physical);
    if (at === null || at < 0 || cpu.ctx.bus.lookup(Math.floor(at / PAGE)) !== PAGE_KIND.ram) return false;
    const length = Math.min(bytes.length - done, PAGE - (at % PAGE));
    pieces.push({ to: pc.space.throughA20(at), from: done, length });
    done += length;
  }
  // Stores that wait must not come over it later.
  cpu.ctx.bus.caches?.settle();
  for (const { to, from, length } of pieces) pc.space.writeBlock(to, bytes, from, length);
  return true;
}
