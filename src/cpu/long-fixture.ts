/**
 * For tests: the processor of cpu-fixture.ts in 64-bit mode with descriptor tables, a task-state segment, 4-level tables of 4 KiB pages for the first
 * 2 MiB (everything else as there), and ports and a device that note when they were accessed.
 */
import { ACTIVITY } from "../ports/processor.ts";
import { CpuFixture, RAM_BYTES } from "./cpu-fixture.ts";
import * as L from "./layout.ts";
import { CpuModel } from "./model.ts";

/** Physical and linear addresses. */
export const PLACE = { idt: 0x4000, gdt: 0x5000, tss: 0x6000, pages: 0x7000, stack: 0x20000 } as const;
/** Selectors; the user's two have RPL 3. */
export const SELECT = {
  code: 8,
  data: 16,
  userData: 0x1b,
  userCode: 0x23,
  code32: 0x28,
  conforming: 0x30,
  tss: 0x40,
} as const;

export class LongFixture extends CpuFixture {
  readonly memory = new DataView(this.engine.buffer, this.ram.base, this.ram.bytes.length);
  /** Instructions retired by the runs before the present one. */
  before = 0;
  /** Every access to a port or device: [what, instructions retired before it]. */
  readonly accesses: [string, number][] = [];
  /** Called with each. */
  onAccess: (what: string) => void = () => {};

  constructor(bsp = true) {
    super(new CpuModel(), RAM_BYTES, bsp);
    this.s.setLo(L.ACTIVITY_OFFSET, ACTIVITY.running);
    this.longMode();
    this.#tables();
    const note = (what: string): void => {
      this.accesses.push([what, this.before + this.cpu.progress]);
      this.onAccess(what);
    };
    const { bus } = this;
    bus.read = (address, width) => {
      note(`read ${address.toString(16)}`);
      return address % 2 ** (8 * width);
    };
    bus.write = address => note(`write ${address.toString(16)}`);
    bus.portRead = port => {
      note(`in ${port.toString(16)}`);
      return 0x5a;
    };
    bus.portWrite = port => note(`out ${port.toString(16)}`);
  }

  /** A code or data descriptor; `attr` as in SEG_ATTR. */
  descriptor(selector: number, attr: number, limit = 0xfffff, base = 0): void {
    const at = PLACE.gdt + (selector & 0xfff8);
    this.memory.setUint32(at, (limit & 0xffff) | (base << 16), true);
    this.memory.setUint32(at + 4, ((base >>> 16) & 0xff) | (attr << 8) | (limit & 0xf0000) | (base & 0xff000000), true);
  }

  /** A 64-bit gate; `rights` is byte 5 (0x8E: interrupt gate of privilege 0). */
  gate(vector: number, offset: number, rights = 0x8e, selector: number = SELECT.code, ist = 0): void {
    const at = PLACE.idt + vector * 16;
    this.memory.setUint32(at, (selector << 16) | (offset & 0xffff), true);
    this.memory.setUint32(at + 4, (offset & 0xffff0000) | (rights << 8) | ist, true);
    this.memory.setInt32(at + 8, Math.floor(offset / 2 ** 32), true);
    this.memory.setUint32(at + 12, 0, true);
  }

  /** Maps a page below 2 MiB. `flags` as in a page-table entry. */
  map(linear: number, physical: number, flags = 0x67): void {
    this.memory.setUint32(PLACE.pages + (linear >>> 12) * 8, physical | flags, true);
  }

  #tables(): void {
    const { s } = this;
    this.descriptor(SELECT.code, 0xa09b);
    this.descriptor(SELECT.data, 0xc093);
    this.descriptor(SELECT.userData, 0xc0f3);
    this.descriptor(SELECT.userCode, 0xa0fb);
    this.descriptor(SELECT.code32, 0xc09b);
    this.descriptor(SELECT.conforming, 0xa09f);
    s.setNum(L.GDTR_BASE, PLACE.gdt);
    s.setLo(L.GDTR_LIMIT, 0x4f);
    s.setNum(L.IDTR_BASE, PLACE.idt);
    s.setLo(L.IDTR_LIMIT, 0xfff);
    s.setLo(L.SEG_SELECTOR + L.SEG.tr * 4, SELECT.tss);
    s.setNum(L.SEG_BASE + L.SEG.tr * 8, PLACE.tss);
    s.setLo(L.SEG_LIMIT + L.SEG.tr * 4, 0x67);
    s.setLo(L.SEG_ATTR + L.SEG.tr * 4, 0x8b);
    for (let page = 0; page < 512; page++) this.map(page * 4096, page * 4096);
    this.markTables();
    s.setNum(L.GPR + L.REG.rsp * 8, PLACE.stack);
    this.cpu.restored();
  }

  /** Makes everything accessed and dirty, so that a walk changes nothing. The fixture's tables lie at 0x8000: PML4, PDPT, PD. */
  markTables(): void {
    for (const at of [0x8000, 0x9000]) this.memory.setUint8(at, this.memory.getUint8(at) | 0x20);
    this.memory.setUint32(0xa000, PLACE.pages | 0x67, true);
    for (let i = 1; i < 512; i++) this.memory.setUint8(0xa000 + i * 8, 0xe7);
  }

  /** The saved registers. */
  get registers(): Uint8Array {
    return this.cpu.state.registers as Uint8Array;
  }

  get rip(): number {
    return this.s.num(L.RIP);
  }
  set rip(value: number) {
    this.s.setNum(L.RIP, value);
  }

  /** Runs on, and counts for {@link accesses}. */
  go(budget: number): number {
    const done = this.cpu.run(budget);
    this.before += done;
    return done;
  }
}
