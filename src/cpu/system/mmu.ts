/**
 * The memory management unit as generated code and the helpers see it: the slow path of every access that the data TLB could not serve at once.
 * Segment checks by Intel SDM vol. 3A, 5.3 (limits) and 5.4 (types), alignment by 6.15 (#AC), data breakpoints by vol. 3B, 18.2.4.
 *
 * The address comes at SLOW_ADDRESS, data at SLOW_DATA. Generated code cannot be unwound, so that a fault is a return value of 1 and three fields.
 */
import { PAGE } from "../../base/units.ts";
import { EXC } from "../context.ts";
import * as L from "../layout.ts";
import { MODE } from "../state.ts";
import { CR0 } from "./control-bits.ts";
import { withinLimit } from "./descriptor.ts";
import { MmuCore } from "./mmu-core.ts";
import { ENTRY } from "./tlb.ts";

/** An entry of a device page: none of these. */
const NOT_DEVICE = ENTRY.ram | ENTRY.rom | ENTRY.watchRead | ENTRY.watchWrite;
const TWO32 = 4294967296;

export class Mmu extends MmuCore {
  /** Linear address of the slow access. */
  #linear = 0;

  /**
   * Reads `size` (1 … 64) bytes at SLOW_ADDRESS of segment `seg` (a SEG number) to SLOW_DATA (whole words when size < 4). Returns 1 for a fault: see
   * faultVector, faultError, faultAddress.
   */
  slowLoad(seg: number, size: number): number {
    if (!this.#address(seg, size, false)) return 1;
    const linear = this.#linear;
    const s = this.ctx.state;
    const tlb = this.tlb;
    const offset = linear & 0xfff;
    if (size <= 4 && offset + size <= PAGE) {
      const e = tlb.find(tlb.bank, linear);
      if (e >= 0 && (tlb.flags(e) & NOT_DEVICE) === 0) {
        const page = tlb.physicalPage(e);
        const own = page === this.ctx.apic.mmioPage;
        const value = own ? this.apicRead(offset, size) : this.ctx.bus.read(page * PAGE + offset, size);
        s.setLo(L.SLOW_DATA, value);
        return 0;
      }
    }
    if (!this.prepare(tlb.bank, linear, size, false)) return 1;
    if (size < 4) s.setLo(L.SLOW_DATA, 0);
    this.readPieces(s.base + L.SLOW_DATA);
    if (this.watching !== 0) this.#watch(linear, size, false);
    this.observe(linear, size, true, false);
    return 0;
  }

  /** Writes `size` bytes from SLOW_DATA. Returns 1 for a fault; then nothing was written. */
  slowStore(seg: number, size: number): number {
    if (!this.#address(seg, size, true)) return 1;
    const linear = this.#linear;
    const s = this.ctx.state;
    const tlb = this.tlb;
    const offset = linear & 0xfff;
    if (size <= 4 && offset + size <= PAGE) {
      const e = tlb.find(tlb.bank, linear);
      if (e >= 0 && (tlb.flags(e) & (NOT_DEVICE | ENTRY.write)) === ENTRY.write) {
        const low = s.lo(L.SLOW_DATA);
        const value = size === 4 ? low : size === 2 ? low & 0xffff : low & 0xff;
        this.deviceWrite(tlb.physicalPage(e) * PAGE + offset, size, value);
        return 0;
      }
    }
    if (!this.prepare(tlb.bank, linear, size, true)) return 1;
    if (this.watching !== 0) this.#watch(linear, size, true);
    this.observe(linear, size, false, true);
    this.writePieces(s.base + L.SLOW_DATA);
    return 0;
  }

  /** Begins a read-modify-write: checks that writing is permitted, reads to SLOW_DATA and remembers the place for {@link commitRmw}. */
  slowRmw(seg: number, size: number): number {
    if (!this.#address(seg, size, true)) return 1;
    const s = this.ctx.state;
    if (!this.prepare(this.tlb.bank, this.#linear, size, true)) return 1;
    if (size < 4) s.setLo(L.SLOW_DATA, 0);
    this.readPieces(s.base + L.SLOW_DATA);
    if (this.watching !== 0) this.#watch(this.#linear, size, true);
    this.observe(this.#linear, size, true, true);
    return 0;
  }

  /** Writes SLOW_DATA where {@link slowRmw} read it. Cannot fault. */
  commitRmw(): void {
    this.writePieces(this.ctx.state.base + L.SLOW_DATA);
    // It may have been a locked one.
    this.ctx.bus.caches?.fence();
  }

  /** Physical address of the memory operand's first byte, which must be readable. Raises faults. */
  operandPhysical(record: number): number {
    const seg = this.ctx.state.u8[record + L.REC.seg]! >>> 3;
    if (!this.#address(seg, 1, false) || !this.prepare(this.tlb.bank, this.#linear, 1, false)) this.throwFault();
    return this.first.physical;
  }

  /** Returns 1 (and the fault fields) when a write of `size` bytes at SLOW_ADDRESS would fault. */
  probeWrite(seg: number, size: number): number {
    return this.#address(seg, size, true) && this.prepare(this.tlb.bank, this.#linear, size, true) ? 0 : 1;
  }

  /** The memory operand of the instruction in `record`, for helpers: to SLOW_DATA, and its first 8 bytes to lo and hi. Raises faults. */
  loadOperand(record: number, size: number): void {
    this.loadAt(this.ctx.state.u8[record + L.REC.seg]! >>> 3, size);
  }

  /** Writes the memory operand from lo and hi (size ≤ 8) or from SLOW_DATA. Raises faults. */
  storeOperand(record: number, size: number): void {
    this.storeAt(this.ctx.state.u8[record + L.REC.seg]! >>> 3, size);
  }

  /** Reads `size` bytes at SLOW_ADDRESS of segment `seg`; raises faults. */
  loadAt(seg: number, size: number): void {
    const s = this.ctx.state;
    if (size > 4) s.set64(L.SLOW_DATA, 0, 0);
    if (this.slowLoad(seg, size) !== 0) this.throwFault();
    this.lo = s.lo(L.SLOW_DATA);
    this.hi = size > 4 ? s.hi(L.SLOW_DATA) : 0;
  }

  /** Writes `size` bytes at SLOW_ADDRESS of segment `seg`; raises faults. */
  storeAt(seg: number, size: number): void {
    const s = this.ctx.state;
    if (size <= 8) s.set64(L.SLOW_DATA, this.lo, this.hi);
    if (this.slowStore(seg, size) !== 0) this.throwFault();
  }

  /** SLOW_ADDRESS to a linear address, with all checks before paging. False: refused. */
  #address(seg: number, size: number, write: boolean): boolean {
    const s = this.ctx.state;
    const low = s.lo(L.SLOW_ADDRESS);
    if (s.int(L.CODE_MODE) === MODE.code64) {
      const high = s.int(L.SLOW_ADDRESS + 4);
      const linear = high * TWO32 + low;
      if ((high << 16) >> 16 !== high || (high === 0x7fff && linear + size > 0x800000000000))
        return this.#refuse(seg === L.SEG.ss ? EXC.ss : EXC.gp);
      this.#linear = linear;
    } else {
      if (seg !== L.SEG.none && !this.segmentAllows(seg, low, size, write))
        return this.#refuse(seg === L.SEG.ss ? EXC.ss : EXC.gp);
      this.#linear = (s.num(L.SEG_BASE + seg * 8) + low) >>> 0;
    }
    if (this.tlb.strict && (this.#linear & alignmentMask(size)) !== 0) return this.#refuse(EXC.ac);
    return true;
  }

  /** Whether a legacy-mode segment lets `size` bytes at `offset` be read or written. */
  segmentAllows(seg: number, offset: number, size: number, write: boolean): boolean {
    const s = this.ctx.state;
    const attr = s.segAttr(seg);
    if ((s.int(L.CR0) & CR0.pe) !== 0) {
      if ((attr & L.ATTR_UNUSABLE) !== 0) return false;
      const code = (attr & 8) !== 0;
      if (write ? code || (attr & 2) === 0 : code && (attr & 2) === 0) return false;
    }
    return withinLimit(attr, s.segLimit(seg), offset, size);
  }

  #refuse(vector: number): false {
    this.faultVector = vector;
    this.faultError = 0;
    return false;
  }

  /** Data breakpoints that an access touches go into DEBUG_TRAP, to be raised when the instruction ends. */
  #watch(linear: number, size: number, write: boolean): void {
    const s = this.ctx.state;
    let hit = 0;
    for (let n = 0; n < 4; n++) {
      const bit = 1 << n;
      if ((this.watching & bit) === 0 || (!write && (this.watchReads & bit) === 0)) continue;
      const from = this.watchFrom[n]!;
      if (linear < from + this.watchLength[n]! && from < linear + size) hit |= bit;
    }
    if (hit === 0) return;
    s.setLo(L.DEBUG_TRAP, s.int(L.DEBUG_TRAP) | hit);
    this.ctx.post(L.PENDING.debugTrap);
  }
}

/** Bits of an address that must be 0 (SDM vol. 3A, table 6-7). */
function alignmentMask(size: number): number {
  if (size === 6) return 3;
  return size >= 8 ? 7 : size - 1;
}
