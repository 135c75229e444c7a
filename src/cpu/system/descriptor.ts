/** Segment, system and gate descriptors as the processor parses them. Intel SDM vol. 3A, 3.4.5 (figure 3-8), 3.5, 5.8.3, 6.11. */

/** Bits of an access-rights word as kept in SEG_ATTR (cpu/layout.ts). */
export const ATTR = {
  accessed: 1,
  /** Data: writable. Code: readable. */
  readWrite: 2,
  /** Data: expand-down. Code: conforming. */
  downConform: 4,
  code: 8,
  segment: 0x10,
  present: 0x80,
  long: 0x2000,
  big: 0x4000,
  granular: 0x8000,
} as const;

/** Types of system descriptors (SDM vol. 3A, table 3-2). */
export const SYS = {
  tss16: 1,
  ldt: 2,
  tss16Busy: 3,
  callGate16: 4,
  taskGate: 5,
  interruptGate16: 6,
  trapGate16: 7,
  tss32: 9,
  tss32Busy: 11,
  callGate32: 12,
  interruptGate32: 14,
  trapGate32: 15,
} as const;

/** Whether offsets `offset` … `offset + size - 1` lie inside a segment with these rights and this limit (SDM vol. 3A, 5.3). */
export function withinLimit(attr: number, limit: number, offset: number, size: number): boolean {
  const last = offset + size - 1;
  if ((attr & (ATTR.code | ATTR.downConform)) !== ATTR.downConform) return last <= limit;
  return offset > limit && last <= ((attr & ATTR.big) !== 0 ? 0xffffffff : 0xffff);
}

/** Error code of a selector: its index and table, without RPL (SDM vol. 3A, 6.13). */
export const errorOf = (selector: number): number => selector & 0xfffc;
/** True for the null selectors 0-3. */
export const isNull = (selector: number): boolean => (selector & 0xfffc) === 0;

/** One 8-byte descriptor (16 bytes for system descriptors in IA-32e mode), parsed. Reused, never kept. */
export class Descriptor {
  /** The words, signed. */
  lo = 0;
  hi = 0;
  /** High half of a 16-byte descriptor. */
  upperLo = 0;
  upperHi = 0;
  selector = 0;
  /** Linear address it was read from. */
  address = 0;
  /** As in SEG_ATTR. */
  attr = 0;

  set(lo: number, hi: number): void {
    this.lo = lo | 0;
    this.hi = hi | 0;
    this.attr = (hi >>> 8) & 0xf0ff;
    this.upperLo = 0;
    this.upperHi = 0;
  }

  /** A copy of another one. */
  copy(other: Descriptor): void {
    this.set(other.lo, other.hi);
    this.upperLo = other.upperLo;
    this.upperHi = other.upperHi;
    this.selector = other.selector;
    this.address = other.address;
    this.attr = other.attr;
  }

  /** Low 32 bits of the base. */
  get base(): number {
    return ((this.hi & 0xff000000) | ((this.hi & 0xff) << 16) | (this.lo >>> 16)) >>> 0;
  }
  /** Limit in bytes. */
  get limit(): number {
    const limit = (this.hi & 0xf0000) | (this.lo & 0xffff);
    return (this.attr & ATTR.granular) !== 0 ? ((limit << 12) | 0xfff) >>> 0 : limit;
  }
  get type(): number {
    return this.attr & 15;
  }
  get dpl(): number {
    return (this.attr >>> 5) & 3;
  }
  get rpl(): number {
    return this.selector & 3;
  }
  get present(): boolean {
    return (this.attr & ATTR.present) !== 0;
  }
  /** A code or data segment. */
  get isSegment(): boolean {
    return (this.attr & ATTR.segment) !== 0;
  }
  get isCode(): boolean {
    return (this.attr & (ATTR.segment | ATTR.code)) === (ATTR.segment | ATTR.code);
  }
  get isConforming(): boolean {
    return (
      (this.attr & (ATTR.segment | ATTR.code | ATTR.downConform)) === (ATTR.segment | ATTR.code | ATTR.downConform)
    );
  }
  get isReadable(): boolean {
    return this.isSegment && (this.attr & (ATTR.code | ATTR.readWrite)) !== ATTR.code;
  }
  get isWritableData(): boolean {
    return (this.attr & (ATTR.segment | ATTR.code | ATTR.readWrite)) === (ATTR.segment | ATTR.readWrite);
  }
  /** 64-bit code segment. */
  get isLong(): boolean {
    return (this.attr & (ATTR.long | ATTR.big)) === ATTR.long;
  }
  /** Of a gate: selector of the target, offset (32 bits), offset bits 63:32. */
  get gateSelector(): number {
    return this.lo >>> 16;
  }
  get gateOffset(): number {
    const wide = (this.attr & ATTR.code) !== 0;
    return (wide ? (this.hi & 0xffff0000) | (this.lo & 0xffff) : this.lo & 0xffff) >>> 0;
  }
}
