/**
 * Finds the code at RIP: checks the address, translates it, decodes what is not decoded yet, and tells the code TLB. Instruction fetch faults by Intel SDM
 * vol. 3A, 5.3 (limit), 3.3.7.1 (canonical), 4.7 (page faults).
 */
import { PAGE } from "../base/units.ts";
import { PAGE_KIND } from "../ports/cpu-bus.ts";
import type { CpuContext } from "./context.ts";
import { EXC } from "./context.ts";
import type { Engine } from "./engine.ts";
import * as L from "./layout.ts";
import { MODE } from "./state.ts";
import type { Mmu } from "./system/mmu.ts";
import { ACCESS } from "./system/page-walk.ts";

/** What {@link CodeFetch.find} found. */
export const CODE_FETCH = {
  /** The code TLB leads to the record now. */
  ready: 0,
  /** Fetching raises an exception: vector, error, address. */
  fault: 1,
  /** `record` is to be run alone. */
  alone: 2,
} as const;

const CANONICAL = 0x800000000000;

export class CodeFetch {
  vector = 0;
  error = 0;
  address = 0;
  record = 0;
  readonly #ctx: CpuContext;
  readonly #mmu: Mmu;
  readonly #engine: Engine;
  #host = 0;
  #physical = 0;
  /** The page has to be read through the bus. */
  #device = false;

  constructor(ctx: CpuContext, mmu: Mmu, engine: Engine) {
    this.#ctx = ctx;
    this.#mmu = mmu;
    this.#engine = engine;
  }

  /** Looks for the code at RIP. `branch`: the record of a direct branch that leads there, 0 for none. */
  find(branch: number): number {
    const s = this.#ctx.state;
    const mode = s.codeMode;
    const rip = mode === MODE.code64 ? s.num(L.RIP) : this.#legacyRip();
    const limit = mode === MODE.code64 ? Number.POSITIVE_INFINITY : s.segLimit(L.SEG.cs);
    if (mode === MODE.code64 ? rip < -CANONICAL || rip >= CANONICAL : rip > limit) return this.#refuse(EXC.gp, 0);
    const linear = mode === MODE.code64 ? rip : (rip + s.segBase(L.SEG.cs)) >>> 0;
    const code = this.#engine.code;
    if (code.full) code.drop();
    const known = this.#knownPage(linear, mode);
    if (!known && !this.#translate(linear)) return CODE_FETCH.fault;
    const offset = linear & 0xfff;
    const pageStart = rip - offset;
    if (!this.#device) this.#ctx.bus.caches?.fetched(this.#host - this.#ctx.ram.base);
    // A page whose beginning lies below the segment is as good as a whole one: branches wrap before they lead there.
    if (this.#device || (mode !== MODE.code64 && pageStart + PAGE - 1 > limit))
      return this.#alone(linear, rip, mode, limit);
    const host = this.#host;
    const { stops } = this.#engine;
    const tapped = this.#tapped(linear);
    const table = code.table(host, mode, tapped);
    if (tapped && stops.offsets[offset] !== 0) {
      // The tables do not lead to an instruction at a debugger's stop.
      if (!known) this.#mmu.tlb.fillCode(linear, table);
      return this.#alone(linear, rip, mode, limit);
    }
    const inside = branch !== 0 && code.keeps(branch) && this.#leadsHere(branch, rip, pageStart, linear, table);
    const record = code.find(table, offset) || code.decode(host, mode, offset, tapped);
    if (record === 0) return this.#alone(linear, rip, mode, limit);
    if (!known) this.#mmu.tlb.fillCode(linear, table);
    if (inside) code.patch(branch, record);
    return CODE_FETCH.ready;
  }

  /** Behind the last byte of 4 GiB comes the first. */
  #legacyRip(): number {
    const s = this.#ctx.state;
    s.setNum(L.RIP, s.lo(L.RIP));
    return s.lo(L.RIP);
  }

  /**
   * Whether `branch` is a direct branch inside this page. The code TLB has to agree: when the page tables were changed and not yet flushed, the branch
   * may lie in another physical page than its target.
   */
  #leadsHere(branch: number, rip: number, pageStart: number, linear: number, table: number): boolean {
    const s = this.#ctx.state;
    if (s.num(L.RIP_PAGE) !== pageStart || s.i32[(branch + L.REC.imm) >>> 2] !== rip - pageStart) return false;
    return this.#mmu.tlb.codeTable(linear) === table;
  }

  #refuse(vector: number, error: number): number {
    this.vector = vector;
    this.error = error;
    return CODE_FETCH.fault;
  }

  /**
   * Takes the page from the code TLB when that has it: whether page tables are walked must not depend on what happens to be decoded.
   */
  #knownPage(linear: number, mode: number): boolean {
    const { tlb } = this.#mmu;
    tlb.checkGeneration();
    const table = tlb.codeTable(linear);
    const host = table === 0 ? -1 : this.#engine.code.hostOf(table, mode);
    if (host < 0) return false;
    this.#host = host;
    this.#physical = linear & 0xfff;
    this.#device = false;
    return true;
  }

  #translate(linear: number): boolean {
    const mmu = this.#mmu;
    mmu.tlb.checkGeneration();
    if (!mmu.translate(linear, ACCESS.execute, this.#ctx.state.cpl === 3)) {
      this.vector = EXC.pf;
      this.error = mmu.faultError;
      this.address = linear;
      return false;
    }
    this.#physical = mmu.physical;
    const page = Math.floor(mmu.physical / PAGE);
    const kind = this.#ctx.bus.lookup(page);
    this.#device = kind > PAGE_KIND.rom || page === this.#ctx.apic.mmioPage;
    this.#host = this.#device ? 0 : this.#ctx.bus.pageOffset;
    return true;
  }

  /** Gathers the bytes of one instruction, over a page boundary if need be. */
  #alone(linear: number, rip: number, mode: number, limit: number): number {
    const s = this.#ctx.state;
    const bytes = this.#engine.decoder.bytes;
    const offset = linear & 0xfff;
    const hosts = [this.#host];
    let cacheable = !this.#device;
    const wanted = Math.min(15, limit - rip + 1);
    let have = this.#gather(bytes, 0, Math.min(wanted, PAGE - offset));
    let record = this.#decode("", have, mode, offset, hosts);
    if (record === 0 && have < wanted) {
      const next = mode === MODE.code64 ? linear + have : (linear + have) >>> 0;
      if (!this.#translate(next)) return CODE_FETCH.fault;
      if (!this.#device) this.#ctx.bus.caches?.fetched(this.#host - this.#ctx.ram.base);
      hosts.push(this.#host);
      cacheable &&= !this.#device && mode === MODE.code64;
      have += this.#gather(bytes, have, wanted - have);
      record = this.#decode(
        cacheable ? `${hosts[0]}/${hosts[1]}/${offset}/${mode}/${this.#tapped(linear)}` : "",
        have,
        mode,
        offset,
        hosts,
      );
    }
    // The segment's limit cuts the instruction.
    if (record === 0) return this.#refuse(EXC.gp, 0);
    s.setNum(L.RIP_PAGE, rip - offset);
    this.record = record;
    return CODE_FETCH.alone;
  }

  /** Direct branches of a kept instruction lead to records of one kind of table. */
  #tapped(linear: number): boolean {
    const { stops } = this.#engine;
    return stops.armed && stops.inPage(linear);
  }

  #decode(key: string, have: number, mode: number, offset: number, hosts: readonly number[]): number {
    return this.#engine.code.decodeAlone(key, have, mode, offset, hosts);
  }

  #gather(bytes: Uint8Array, at: number, count: number): number {
    const { bus, state } = this.#ctx;
    const offset = this.#physical % PAGE;
    for (let i = 0; i < count; i++) {
      bytes[at + i] = this.#device ? bus.read(this.#physical + i, 1) : state.u8[this.#host + offset + i]!;
    }
    return count;
  }
}
