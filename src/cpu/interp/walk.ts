/**
 * Fills the data TLB from 4-level page tables in generated code (Intel SDM vol. 3A, 4.5), for the usual case: tables and page in plain RAM, upper entries
 * accessed already, the access permitted, no data breakpoints, CR0.WP set. A page that is not present is found here, too.
 * Everything else is left to system/page-walk.ts. The entry is the same as that of `Tlb.fill`.
 */
import { c32, c64, type Ex, i32, i64, select, TY } from "../emit/expr.ts";
import { FunctionBuilder, type Signature } from "../emit/wasm.ts";
import { tlbEntry } from "../isa/tlb-entry.ts";
import * as L from "../layout.ts";
import { ENTRY } from "../system/tlb.ts";

/** What the function returns. */
export const WALKED = {
  /** Not usual: ask the memory management unit. */
  unknown: 0,
  /** The TLB now has the page. */
  filled: 1,
  /** A #PF because an entry is not present; its error code is at PAGE_FAULT. */
  notPresent: 2,
} as const;
/** (cpu, linear address, write): one of WALKED. */
export const WALK: Signature = { params: [TY.i32, TY.i64, TY.i32], result: TY.i32 };

const MIB = 0x100000;
const PG_WP = 0x80010000 | 0;
const LMA = 0x400;
const NXE = 0x800;
const PGE = 0x80;
/** Bits of an entry. */
const P = 1;
const A = 0x20;
const RW = 2;
const US = 4;
const D = 0x40;
const PS = 0x80;
const G = 0x100;
/** Address bits 39:12, and the bits above them that are reserved with 40 physical address bits. */
const FRAME = 0xfffffff000n;
const RESERVED = 0xfff0000000000n;

const BANK_SIZE = L.DTLB_ENTRIES * L.DTLB_ENTRY;

class Walk {
  readonly f = new FunctionBuilder(WALK);
  readonly cpu = this.f.param(0);
  readonly linear = this.f.param(1);
  readonly write = this.f.param(2);
  readonly #rights = this.f.local(TY.i32);
  readonly #leaf = this.f.local(TY.i64);
  readonly #frame = this.f.local(TY.i64);
  readonly #large = this.f.local(TY.i32);
  /** Offset of the bank in use. */
  readonly #bank = this.f.local(TY.i32);
  /** Host address of the leaf entry. */
  readonly #leafHost = this.f.local(TY.i32);
  /** Physical address of it. */
  readonly #leafAddress = this.f.local(TY.i64);

  need(condition: Ex): void {
    this.f.if(i32.eqz(condition), () => this.f.return(c32(WALKED.unknown)));
  }
  flag(word: Ex, bit: number): Ex {
    return i32.ne(i32.and(word, c32(bit)), c32(0));
  }
  /** `length` bytes at a physical address are plain RAM. */
  inRam(address: Ex, length: number): void {
    this.need(i64.geU(address, c64(MIB)));
    this.need(i64.leU(i64.add(address, c64(length)), i64.load(this.cpu, L.WALK_LIMIT)));
  }
  /** Reads the entry of one level: present (and of the upper levels accessed), nothing reserved. */
  entry(table: Ex, shift: number): Ex {
    const { f } = this;
    const index = i64.and(i64.shrU(this.linear, c64(shift - 3)), c64(0xff8));
    const address = f.let(i64.or(table, index));
    this.inRam(address, 8);
    const host = f.let(i32.add(i32.wrap(address), i32.load(this.cpu, L.WALK_RAM)));
    const e = f.let(i64.load(host));
    const low = f.let(i32.wrap(e));
    f.if(i32.eqz(i32.and(low, c32(P))), () => this.#notPresent());
    if (shift >= 30) this.need(i32.and(low, c32(A)));
    f.set(this.#leafHost, host);
    f.set(this.#leafAddress, address);
    this.need(i64.eqz(i64.and(e, c64(RESERVED))));
    this.need(i32.or(i64.geS(e, c64(0)), i32.and(i32.load(this.cpu, L.EFER), c32(NXE))));
    f.set(this.#rights, i32.and(this.#rights, low));
    return e;
  }

  /** #PF with P = 0: W/R by the access, U/S by the privilege (SDM vol. 3A, 4.7). */
  #notPresent(): void {
    const { f, cpu } = this;
    const user = i32.shl(i32.eq(i32.load(cpu, L.CPL), c32(3)), c32(2));
    const error = i32.or(i32.or(user, i32.shl(this.write, c32(1))), c32(L.PAGE_FAULT_FOUND));
    f.store32(cpu, L.PAGE_FAULT, error);
    f.return(c32(WALKED.notPresent));
  }

  build(): FunctionBuilder {
    const { f, cpu } = this;
    const bank = i32.sub(i32.load(cpu, L.DTLB_BASE), i32.add(cpu, c32(L.DTLB_OFFSET)));
    f.set(this.#bank, bank);
    // Alignment checking comes before paging.
    this.need(i32.ltU(this.#bank, c32(L.BANK.strict * BANK_SIZE)));
    this.need(i32.eqz(i32.and(i32.load(cpu, L.DR7), c32(0xff))));
    this.need(i32.eq(i32.and(i32.load(cpu, L.CR0), c32(PG_WP)), c32(PG_WP)));
    this.need(i32.and(i32.load(cpu, L.EFER), c32(LMA)));
    f.set(this.#rights, c32(US | RW));
    const l4 = this.entry(f.let(i64.and(i64.load(cpu, L.CR3), c64(FRAME))), 39);
    this.need(i32.eqz(i32.and(i32.wrap(l4), c32(PS))));
    const l3 = this.entry(f.let(i64.and(l4, c64(FRAME))), 30);
    this.need(i32.eqz(i32.and(i32.wrap(l3), c32(PS))));
    const l2 = this.entry(f.let(i64.and(l3, c64(FRAME))), 21);
    f.if(
      i32.and(i32.wrap(l2), c32(PS)),
      () => {
        this.need(i64.eqz(i64.and(l2, c64(0x1fe000))));
        f.set(this.#leaf, l2);
        f.set(this.#frame, i64.or(i64.and(l2, c64(FRAME)), i64.and(this.linear, c64(0x1ff000))));
        f.set(this.#large, c32(1));
      },
      () => {
        this.need(i32.and(i32.wrap(l2), c32(A)));
        const l1 = this.entry(f.let(i64.and(l2, c64(FRAME))), 12);
        f.set(this.#leaf, l1);
        f.set(this.#frame, i64.and(l1, c64(FRAME)));
      },
    );
    this.#permit();
    this.inRam(this.#frame, 4096);
    this.#mark();
    this.#fill();
    return f;
  }

  #permit(): void {
    const bank = this.#bank;
    const user = this.flag(this.#rights, US);
    const isUser = i32.eq(bank, c32(L.BANK.user * BANK_SIZE));
    const smap = i32.eq(bank, c32(L.BANK.supervisorSmap * BANK_SIZE));
    this.need(select(isUser, user, i32.eqz(i32.and(smap, user))));
    this.need(i32.or(i32.eqz(this.write), this.flag(this.#rights, RW)));
  }

  /** Sets the accessed and dirty flags of the leaf, unless its table is a page with decoded code. */
  #mark(): void {
    const { f } = this;
    const marks = i64.or(c64(A), i64.extendU(i32.mul(this.flag(this.write, 1), c32(D))));
    const marked = f.let(i64.or(this.#leaf, marks));
    f.if(i64.ne(marked, this.#leaf), () => {
      this.need(i32.eqz(this.#hasCode(f.let(i32.wrap(this.#leafAddress)))));
      f.store64(this.#leafHost, 0, marked);
      f.set(this.#leaf, marked);
    });
  }
  #hasCode(address: Ex): Ex {
    return i32.load8u(i32.add(i32.load(this.cpu, L.WALK_CODE_PAGES), i32.shrU(address, c32(12))));
  }

  #fill(): void {
    const { f, cpu } = this;
    const page = f.let(i64.and(this.linear, c64(-4096)));
    const vpn = f.let(i32.wrap(i64.shrU(this.linear, c64(12))));
    const e = tlbEntry(f, i32.load(cpu, L.DTLB_BASE), this.linear);
    const leaf = f.let(i32.wrap(this.#leaf));
    const global = f.let(i32.and(this.flag(leaf, G), this.flag(i32.load(cpu, L.CR4), PGE)));
    const writable = f.let(i32.and(this.flag(this.#rights, RW), this.flag(leaf, D)));
    this.#log(e, global, vpn);
    const flags = i32.or(
      i32.or(c32(ENTRY.read | ENTRY.ram), i32.mul(writable, c32(ENTRY.write))),
      i32.or(i32.mul(global, c32(ENTRY.global)), i32.mul(this.#large, c32(ENTRY.large))),
    );
    const high = i32.shl(i32.wrap(i64.shrU(this.linear, c64(44))), c32(28));
    const frame = f.let(i32.wrap(this.#frame));
    f.store32(e, L.DTLB.flags, i32.or(flags, high));
    f.store32(e, L.DTLB.physical, i32.shrU(frame, c32(12)));
    f.store32(e, L.DTLB.page, vpn);
    f.store32(e, L.DTLB.addend, i32.sub(i32.add(frame, i32.load(cpu, L.WALK_RAM)), i32.wrap(page)));
    f.store64(e, L.DTLB.tagRead, page);
    f.store64(e, L.DTLB.tagWrite, select(i32.and(writable, i32.eqz(this.#hasCode(frame))), page, c64(L.NO_TAG)));
    f.return(c32(WALKED.filled));
    f.unreachable();
  }

  /** Notes the slot for the next flush, and pieces of large pages for INVLPG. */
  #log(e: Ex, global: Ex, vpn: Ex): void {
    const { f, cpu } = this;
    const log = f.let(i32.add(cpu, c32(L.TLB_LOG_OFFSET)));
    const before = i32.and(i32.load(e, L.DTLB.flags), c32(ENTRY.read | ENTRY.global));
    f.if(i32.eqz(i32.or(global, i32.eq(before, c32(ENTRY.read)))), () => {
      const count = f.let(i32.load(log, L.TLB_LOG.dataCount));
      f.if(i32.ltS(count, c32(L.TLB_LOG_SIZE)), () => {
        f.store32(i32.add(log, i32.shl(count, c32(2))), L.TLB_LOG.data, i32.shrU(e, c32(2)));
      });
      f.store32(log, L.TLB_LOG.dataCount, i32.add(count, c32(1)));
    });
    f.if(this.#large, () => {
      const place = i32.and(i32.shrU(vpn, c32(9)), c32(L.LARGE_MAP_SIZE - 1));
      f.store8(i32.add(log, place), L.TLB_LOG.largeMap, c32(1));
      f.store32(log, L.TLB_LOG.largeUsed, c32(1));
    });
  }
}

export const walkBody = (): FunctionBuilder => new Walk().build();
