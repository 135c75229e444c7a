/** For the tests of the helpers: one processor without an engine, with neighbours that record what they are asked. */
import type { CpuBus } from "../../ports/cpu-bus.ts";
import type { LocalApicPort } from "../../ports/cpu-port.ts";
import { Clock } from "../../sim/clock.ts";
import { Trace } from "../../sim/trace.ts";
import { CpuContext, EXC, GuestFault, raise, raisePageFault } from "../context.ts";
import * as L from "../layout.ts";
import { CpuModel, type Vendor } from "../model.ts";
import { CpuState, MODE } from "../state.ts";
import { CR0, CR4, EFER } from "./control-bits.ts";
import type { MemoryPort, PdpteLoader, SegmentationPort, TlbPort } from "./helper-ports.ts";

/** Bytes of guest memory in the fixture, after the processor's area. */
const MEMORY = 0x10000;
/** The record that every test uses. */
export const RECORD = L.CPU_SIZE;

export class FakeApic implements LocalApicPort {
  readonly mmioPage = 0xfee00;
  readonly msrs = new Map<number, [number, number]>([[0x1b, [0xfee00900, 0]]]);
  cr8 = 0;
  msrLow = 0;
  msrHigh = 0;
  apicId = 0;
  globallyEnabled = true;
  bsp = true;
  readonly lastExtInt = false;
  readonly lastSpurious = false;
  readonly lastCause = 0;
  read = (): number => 0;
  write = (): void => {};
  acknowledge = (): number => 0;
  initReset = (): void => {};
  readCr8(): number {
    return this.cr8;
  }
  writeCr8(value: number): void {
    this.cr8 = value;
  }
  readMsr(index: number): boolean {
    const value = this.msrs.get(index);
    if (value === undefined) return false;
    [this.msrLow, this.msrHigh] = value;
    return true;
  }
  writeMsr(index: number, low: number, high: number): boolean {
    this.msrs.set(index, [low >>> 0, high >>> 0]);
    return true;
  }
}

export class FakeBus implements CpuBus {
  generation = 0;
  readonly pageOffset = 0;
  readonly ports = new Map<number, number>();
  readonly log: string[] = [];
  lookup = (): number => 0;
  read = (): number => 0;
  write = (): void => {};
  portRead(port: number, width: number): number {
    this.log.push(`in ${port.toString(16)} ${width}`);
    return this.ports.get(port) ?? (width === 4 ? 0xffffffff : 2 ** (8 * width) - 1);
  }
  portWrite(port: number, width: number, value: number): void {
    this.log.push(`out ${port.toString(16)} ${width} ${value.toString(16)}`);
  }
}

export class FakeTlb implements TlbPort {
  readonly log: string[] = [];
  readonly bank = 0;
  strict = false;
  direct = (_bank: number, _linear: number, _size: number, _write: boolean): number => -1;
  selectBank(): void {
    this.log.push("bank");
  }
  flushAll(): void {
    this.log.push("all");
  }
  flushNonGlobal(): void {
    this.log.push("non-global");
  }
  knowsCode(): boolean {
    return false;
  }
  flushPage(linear: number): void {
    this.log.push(`page ${linear.toString(16)}`);
  }
  checkGeneration(): boolean {
    this.log.push("generation");
    return true;
  }
}

/** Untranslated memory; an access that touches `faultAt` or more raises #PF, a write to `readOnlyFrom` or more too. */
export class FakeMemory implements MemoryPort {
  lo = 0;
  hi = 0;
  faultAt = MEMORY;
  readOnlyFrom = MEMORY;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #s: CpuState;

  constructor(s: CpuState) {
    this.#s = s;
    this.bytes = s.u8.subarray(L.CPU_SIZE + 0x1000, L.CPU_SIZE + 0x1000 + MEMORY);
    this.view = new DataView(s.u8.buffer, L.CPU_SIZE + 0x1000, MEMORY);
  }
  #linear(seg: number, size: number, write: boolean): number {
    const s = this.#s;
    const linear = s.num(L.SLOW_ADDRESS) + (s.codeMode === MODE.code64 || seg > 5 ? 0 : s.segBase(seg));
    const limit = write ? Math.min(this.readOnlyFrom, this.faultAt) : this.faultAt;
    if (linear + size > limit) raisePageFault(write ? 2 : 0, Math.max(linear, limit));
    return linear;
  }
  loadAt(seg: number, size: number): void {
    const s = this.#s;
    const from = this.#linear(seg, size, false);
    const to = s.base + L.SLOW_DATA;
    s.set64(L.SLOW_DATA, 0, 0);
    for (let i = 0; i < size; i++) s.u8[to + i] = this.bytes[from + i]!;
    this.lo = s.lo(L.SLOW_DATA);
    this.hi = s.hi(L.SLOW_DATA);
  }
  storeAt(seg: number, size: number): void {
    const s = this.#s;
    const to = this.#linear(seg, size, true);
    if (size <= 8) s.set64(L.SLOW_DATA, this.lo, this.hi);
    for (let i = 0; i < size; i++) this.bytes[to + i] = s.u8[s.base + L.SLOW_DATA + i]!;
  }
  loadOperand(record: number, size: number): void {
    this.loadAt(this.#s.u8[record + L.REC.seg]! >>> 3, size);
  }
  storeOperand(record: number, size: number): void {
    this.storeAt(this.#s.u8[record + L.REC.seg]! >>> 3, size);
  }
  probeWrite(seg: number, size: number): number {
    try {
      this.#linear(seg, size, true);
      return 0;
    } catch {
      return 1;
    }
  }
  #rmw = 0;
  slowRmw(seg: number, size: number): number {
    if (this.probeWrite(seg, size) !== 0) return 1;
    this.#rmw = size;
    this.loadAt(seg, size);
    return 0;
  }
  commitRmw(): void {
    const at = this.#linear(L.SEG.none, 1, false);
    for (let i = 0; i < this.#rmw; i++) this.bytes[at + i] = this.#s.u8[this.#s.base + L.SLOW_DATA + i]!;
  }
  operandPhysical(record: number): number {
    return this.#linear(this.#s.u8[record + L.REC.seg]! >>> 3, 1, false);
  }
  throwFault(): never {
    raise(EXC.pf, 2);
  }
  read16(linear: number): number {
    if (linear + 2 > this.faultAt) raisePageFault(0, linear);
    return this.view.getUint16(linear, true);
  }
}

export type RecordFields = {
  r1?: number;
  r2?: number;
  aux?: number;
  prefix?: number;
  length?: number;
  seg?: number;
  imm?: number;
  target?: number;
};

/** A processor for tests; starts in 64-bit mode at CPL 0 unless told otherwise. */
export class HelperFixture {
  readonly state = new CpuState(new ArrayBuffer(L.CPU_SIZE + 0x1000 + MEMORY), 0);
  readonly apic = new FakeApic();
  readonly bus = new FakeBus();
  readonly tlb = new FakeTlb();
  readonly clock = new Clock();
  readonly trace = new Trace(this.clock);
  readonly memory = new FakeMemory(this.state);
  /** What was asked of segmentation and of the PDPTE loader; set `badPdpte` to make the latter fault. */
  readonly log: string[] = [];
  badPdpte = false;
  readonly seg: SegmentationPort = { recompute: () => this.log.push("recompute") };
  readonly pdptes: PdpteLoader = {
    loadPdptes: () => {
      this.log.push("pdptes");
      if (this.badPdpte) raise(EXC.gp, 0);
    },
  };
  readonly ctx: CpuContext;

  constructor(vendor: Vendor = "GenuineIntel", features: readonly string[] = []) {
    this.ctx = new CpuContext({
      index: 0,
      state: this.state,
      bus: this.bus,
      ram: { bytes: this.memory.bytes, base: 0, codePages: new Uint8Array(16), invalidateCode: () => {} },
      apic: this.apic,
      model: new CpuModel(vendor, features),
      clock: this.clock,
      trace: this.trace,
    });
    this.long64();
    this.state.setNum(L.RIP, 0x1000);
    this.state.setLo(L.COUNT, 1000);
    this.state.setLo(L.FLAG_OTHER, 2);
  }

  long64(cpl = 0): this {
    const s = this.state;
    s.setLo(L.CR0, CR0.pe | CR0.pg | CR0.et | CR0.ne);
    s.setLo(L.CR4, CR4.pae);
    s.setLo(L.EFER, EFER.lme | EFER.lma | EFER.sce);
    s.setLo(L.CODE_MODE, MODE.code64);
    s.setLo(L.SEG_ATTR + L.SEG.cs * 4, 0xa09b | (cpl << 5));
    s.setLo(L.CPL, cpl);
    return this;
  }
  /** 32-bit protected mode, no paging. */
  protected32(cpl = 0): this {
    const s = this.state;
    s.setLo(L.CR0, CR0.pe | CR0.et | CR0.ne);
    s.setLo(L.CR4, 0);
    s.setLo(L.EFER, 0);
    s.setLo(L.CODE_MODE, MODE.code32);
    s.setLo(L.SEG_ATTR + L.SEG.cs * 4, 0xc09b | (cpl << 5));
    s.setLo(L.CPL, cpl);
    s.set64(L.STACK_MASK, 0xffffffff, 0);
    return this;
  }
  real(): this {
    this.protected32();
    this.state.setLo(L.CR0, CR0.et);
    this.state.setLo(L.CODE_MODE, MODE.code16);
    this.state.setLo(L.SEG_ATTR + L.SEG.cs * 4, 0x9b);
    this.state.set64(L.STACK_MASK, 0xffff, 0);
    return this;
  }
  vm86(iopl: number, cr4 = 0): this {
    this.protected32(3);
    this.state.setLo(L.CODE_MODE, MODE.code16);
    this.state.setLo(L.FLAG_OTHER, 0x20002 | (iopl << 12));
    this.state.setLo(L.CR4, cr4);
    this.state.set64(L.STACK_MASK, 0xffff, 0);
    return this;
  }

  /** Fills the record; registers are numbers. */
  record(fields: RecordFields): number {
    const { u8, view } = this.state;
    u8.fill(0, RECORD, RECORD + L.RECORD_SIZE);
    u8[RECORD + L.REC.length] = fields.length ?? 2;
    u8[RECORD + L.REC.r1] = (fields.r1 ?? 0) * 8;
    u8[RECORD + L.REC.r2] = (fields.r2 ?? 0) * 8;
    u8[RECORD + L.REC.aux] = fields.aux ?? 0;
    u8[RECORD + L.REC.prefix] = fields.prefix ?? 0;
    u8[RECORD + L.REC.seg] = (fields.seg ?? L.SEG.none) * 8;
    view.setInt32(RECORD + L.REC.imm, fields.imm ?? 0, true);
    view.setInt32(RECORD + L.REC.target, fields.target ?? 0, true);
    return RECORD;
  }
  /** A record with a memory operand at `address`. */
  memoryRecord(address: number, fields: RecordFields = {}): number {
    this.state.setNum(L.SLOW_ADDRESS, address);
    return this.record({ ...fields, prefix: (fields.prefix ?? 0) | L.PFX.memory });
  }

  gpr(name: keyof typeof L.REG): bigint {
    return this.state.big(L.GPR + L.REG[name] * 8);
  }
  setGpr(name: keyof typeof L.REG, value: bigint | number): void {
    this.state.setBig(L.GPR + L.REG[name] * 8, BigInt.asUintN(64, BigInt(value)));
  }
  get rip(): number {
    return this.state.num(L.RIP);
  }

  /** `#vector` or `#vector(error)` of the fault that `run` raises, "" when it raises none. Checks that registers stayed as they were. */
  fault(run: () => unknown): string {
    const before = this.state.u8.slice(0, L.CACHE);
    try {
      run();
    } catch (e) {
      if (!(e instanceof GuestFault)) throw e;
      const after = this.state.u8.slice(0, L.CACHE);
      const at = before.findIndex((byte, i) => byte !== after[i]);
      if (at >= 0) throw new Error(`the fault changed the state at offset 0x${at.toString(16)}`);
      const name = Object.entries(EXC).find(([, vector]) => vector === e.vector)?.[0] ?? String(e.vector);
      return e.error < 0 ? `#${name}` : `#${name}(${e.error})`;
    }
    return "";
  }
}
