/** For tests and benchmarks: a fixture with all parts that deliver interrupts and transfer control, and descriptor tables at fixed places. */
import { Delivery } from "./delivery.ts";
import * as L from "../layout.ts";
import { Exceptions } from "./exceptions.ts";
import { farHelpers } from "./far-transfer.ts";
import { iretHelpers } from "./iret.ts";
import { segmentationHelpers } from "./load-segment.ts";
import { Mmu } from "./mmu.ts";
import { Fixture } from "./mmu-fixture.ts";
import { Segmentation } from "./segmentation.ts";
import { TaskSwitch } from "./task-switch.ts";

/** Physical (and linear) addresses of the tables. */
export const AT = { gdt: 0x10000, idt: 0x11000, tss: 0x12000, ldt: 0x13000, tss2: 0x14000 } as const;
/** Selectors of the GDT that {@link SystemFixture} builds. */
export const SEL = {
  code0: 0x08,
  data0: 0x10,
  code3: 0x1b,
  data3: 0x23,
  tss: 0x28,
  /** 64-bit code, privilege 0 and 3. */
  long0: 0x38,
  long3: 0x43,
  conforming0: 0x48,
  ldt: 0x50,
  tss2: 0x60,
} as const;

export class SystemFixture extends Fixture {
  readonly mmu = new Mmu(this.ctx, this.onCodeWrite);
  readonly seg = new Segmentation(this.ctx, this.mmu);
  readonly tasks = new TaskSwitch(this.ctx, this.mmu, this.seg);
  readonly delivery = new Delivery(this.ctx, this.mmu, this.seg, this.tasks);
  readonly exceptions = new Exceptions(this.ctx, this.delivery);
  readonly helpers = {
    ...segmentationHelpers(this.ctx, this.mmu, this.seg),
    ...farHelpers(this.ctx, this.mmu, this.seg, this.tasks),
    ...iretHelpers(this.ctx, this.mmu, this.seg, this.tasks),
  };

  constructor() {
    super();
    this.seg.reset();
    this.descriptor(AT.gdt + 0x08, 0, 0xfffff, 0xc09b);
    this.descriptor(AT.gdt + 0x10, 0, 0xfffff, 0xc093);
    this.descriptor(AT.gdt + 0x18, 0, 0xfffff, 0xc0fb);
    this.descriptor(AT.gdt + 0x20, 0, 0xfffff, 0xc0f3);
    this.descriptor(AT.gdt + 0x38, 0, 0xfffff, 0xa09b);
    this.descriptor(AT.gdt + 0x40, 0, 0xfffff, 0xa0fb);
    this.descriptor(AT.gdt + 0x48, 0, 0xfffff, 0xc09f);
    this.descriptor(AT.gdt + 0x50, AT.ldt, 0xff, 0x82);
    this.descriptor(AT.gdt + 0x60, AT.tss2, 0x67, 0x89);
    const s = this.state;
    s.setNum(L.GDTR_BASE, AT.gdt);
    s.setLo(L.GDTR_LIMIT, 0x7f);
    s.setNum(L.IDTR_BASE, AT.idt);
    s.setLo(L.IDTR_LIMIT, 0xfff);
  }

  /** Protected mode, 32-bit segments of privilege `cpl`, a 32-bit TSS with SS0:ESP0 = data0:0x8000. */
  protectedMode(cpl: number): this {
    const s = this.state;
    s.setLo(L.CR0, 0x11);
    this.descriptor(AT.gdt + SEL.tss, AT.tss, 0x67, 0x8b);
    this.poke(AT.tss + 4, 0x8000, SEL.data0);
    this.seg.setRaw(L.SEG.tr, SEL.tss, AT.tss, 0x67, 0x8b);
    this.segments(cpl, cpl === 0 ? SEL.code0 : SEL.code3, 0xc09b);
    return this;
  }

  /** 64-bit mode with 4-level paging that maps the low 2 MiB to themselves for all; a 64-bit TSS with RSP0 = 0x8000. */
  longMode(cpl: number, cr4 = 0): this {
    this.longPaging(cr4);
    this.poke(0x1000, 0x2007, 0);
    this.poke(0x2000, 0x3007, 0);
    this.poke(0x3000, 0x87, 0);
    this.descriptor(AT.gdt + SEL.tss, AT.tss, 0x67, 0x8b);
    this.poke(AT.gdt + SEL.tss + 8, 0, 0);
    this.poke(AT.tss + 4, 0x8000, 0);
    this.seg.setRaw(L.SEG.tr, SEL.tss, AT.tss, 0x67, 0x8b);
    this.mmu.tlb.flushAll();
    this.segments(cpl, cpl === 0 ? SEL.long0 : SEL.long3, 0xa09b);
    return this;
  }

  segments(cpl: number, cs: number, attr: number): void {
    const data = cpl === 0 ? SEL.data0 : SEL.data3;
    const dpl = cpl << 5;
    for (let seg = 0; seg < 6; seg++) this.seg.setRaw(seg, data, 0, 0xffffffff, 0xc093 | dpl);
    this.seg.setRaw(L.SEG.cs, cs, 0, 0xffffffff, attr | dpl);
    this.state.setLo(L.CPL, cpl);
    this.seg.recompute();
  }

  /** An 8-byte gate. `rights` is the byte with P, DPL and type. */
  gate(address: number, selector: number, offset: number, rights: number, count = 0): void {
    this.poke(
      address,
      ((selector << 16) | (offset & 0xffff)) >>> 0,
      ((offset & 0xffff0000) | (rights << 8) | count) >>> 0,
    );
  }

  /** A 16-byte gate of 64-bit mode. */
  longGate(address: number, selector: number, offset: number, rights: number, ist = 0): void {
    this.gate(address, selector, offset, rights, ist);
    this.poke(address + 8, Math.floor(offset / 2 ** 32), 0);
  }

  /** Runs a helper with a record. */
  run(
    name: keyof typeof this.helpers,
    fields: { r1?: number; r2?: number; aux?: number; prefix?: number; seg?: number; imm?: [number, number] },
  ): number {
    const { u8, view } = this.state;
    u8.fill(0, this.record, this.record + L.RECORD_SIZE);
    u8[this.record + L.REC.length] = 2;
    u8[this.record + L.REC.r1] = fields.r1 ?? 0;
    u8[this.record + L.REC.r2] = fields.r2 ?? 0;
    u8[this.record + L.REC.aux] = fields.aux ?? 0;
    u8[this.record + L.REC.prefix] = fields.prefix ?? 0;
    u8[this.record + L.REC.seg] = (fields.seg ?? L.SEG.ds) * 8;
    view.setUint32(this.record + L.REC.imm, fields.imm?.[0] ?? 0, true);
    view.setUint32(this.record + L.REC.imm + 4, fields.imm?.[1] ?? 0, true);
    return this.helpers[name]!(this.record);
  }

  get rip(): number {
    return this.state.num(L.RIP);
  }
  set rip(value: number) {
    this.state.setNum(L.RIP, value);
  }
  get rsp(): number {
    return this.state.num(L.GPR + 32);
  }
  set rsp(value: number) {
    this.state.setNum(L.GPR + 32, value);
  }
}
