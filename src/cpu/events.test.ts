/** What a processor takes at an instruction boundary, in which order, and what holds it back. Intel SDM vol. 3A, table 6-2, 6.7, 6.8, 8.4, 9.1. */
import { describe, expect, test } from "vitest";
import { EVENT } from "../ports/events.ts";
import { ACTIVITY } from "../ports/processor.ts";
import * as L from "./layout.ts";
import { LongFixture, PLACE } from "./long-fixture.ts";
import { FLAG } from "./state.ts";

const CODE = 0x10000;
const HANDLERS = 0x14000;
const VECTOR = 0x30;

/** 64-bit mode, interrupts on, every gate leads to eight NOPs of its own, the last an IRETQ. */
class Rig extends LongFixture {
  readonly events: string[] = [];
  constructor(code: readonly number[], bsp = true) {
    super(bsp);
    this.load(CODE, new Uint8Array(0x1000).fill(0x90));
    this.load(CODE, code);
    this.load(HANDLERS, new Uint8Array(0x1000).fill(0x90));
    for (let vector = 0; vector < 64; vector++) this.gate(vector, HANDLERS + vector * 16);
    this.rip = CODE;
    this.s.eflags = FLAG.if | 2;
    this.apic.acknowledge = () => {
      this.cpu.intr(false);
      return VECTOR;
    };
    const names: Record<number, string> = {
      [EVENT.interrupt]: "interrupt",
      [EVENT.nmi]: "nmi",
      [EVENT.exception]: "exception",
      [EVENT.init]: "init",
      [EVENT.sipi]: "sipi",
      [EVENT.smi]: "smi",
      [EVENT.wake]: "wake",
      [EVENT.shutdown]: "shutdown",
    };
    this.cpu.ctx.trace.listen(
      { event: (_t, kind, _s, a) => void this.events.push(kind === EVENT.exception ? `#${a}` : names[kind]!) },
      Object.keys(names).map(Number),
    );
  }
  /** Handler that the processor is in, by vector; −1: none. */
  get handler(): number {
    const offset = this.rip - HANDLERS;
    return offset >= 0 && offset < 0x400 ? offset >>> 4 : -1;
  }
  /** Return address of the frame on top of the stack. */
  get returnTo(): number {
    return this.memory.getUint32(this.s.lo(L.GPR + L.REG.rsp * 8), true);
  }
  /** Puts a handler's IRETQ at its start. */
  returns(vector: number): this {
    this.load(HANDLERS + vector * 16, [0x48, 0xcf]);
    return this;
  }
}

describe("maskable interrupts", () => {
  test("are taken at the boundary when IF is 1, and not when it is 0", () => {
    const r = new Rig([]);
    r.cpu.intr(true);
    expect(r.go(1)).toBe(1);
    expect([r.handler, r.returnTo]).toEqual([VECTOR, CODE]);
    const masked = new Rig([]);
    masked.s.eflags = 2;
    masked.cpu.intr(true);
    masked.go(5);
    expect([masked.handler, masked.rip]).toEqual([-1, CODE + 5]);
  });

  test("one that goes away before it is taken was never there", () => {
    const r = new Rig([]);
    r.s.eflags = 2;
    r.cpu.intr(true);
    r.go(1);
    r.cpu.intr(false);
    r.s.eflags = FLAG.if | 2;
    r.go(3);
    expect(r.handler).toBe(-1);
  });

  test("POPF that sets IF lets one that waits in right behind it (no shadow, vol. 2)", () => {
    // pushfq; or byte [rsp+1],2; popfq
    const r = new Rig([0x9c, 0x80, 0x4c, 0x24, 0x01, 0x02, 0x9d]);
    r.s.eflags = 2;
    r.cpu.intr(true);
    r.go(3);
    expect([r.handler, r.returnTo]).toEqual([VECTOR, CODE + 7]);
  });

  test("the shadow of STI in one run, in two, and when the next instruction is decoded for the first time: exactly one instruction", () => {
    for (const slices of [[10], [1, 9], [1, 1, 8], [2, 8]]) {
      for (const warm of [true, false]) {
        const r = new Rig([0xfb, 0x90, 0x90]);
        if (warm) {
          r.go(3);
          r.rip = CODE;
        }
        r.s.eflags = 2;
        r.cpu.intr(true);
        for (const slice of slices) expect(r.go(slice)).toBe(slice);
        expect(r.events).toEqual(["interrupt"]);
        // Of ten instructions two came before the handler.
        expect([r.returnTo, r.rip]).toEqual([CODE + 2, HANDLERS + VECTOR * 16 + 8]);
      }
    }
  });

  test("STI with IF already 1 casts no shadow", () => {
    const r = new Rig([0xfb]);
    r.go(1);
    r.cpu.intr(true);
    r.go(1);
    expect(r.returnTo).toBe(CODE + 1);
  });

  test("STI; HLT with one pending halts and wakes at once; STI; CLI lets nothing through", () => {
    const halt = new Rig([0xfb, 0xf4]);
    halt.s.eflags = 2;
    halt.cpu.intr(true);
    expect(halt.go(3)).toBe(3);
    expect([halt.handler, halt.returnTo]).toEqual([VECTOR, CODE + 2]);
    const never = new Rig([0xfb, 0xfa]);
    never.s.eflags = 2;
    never.cpu.intr(true);
    never.go(6);
    expect(never.events).toEqual([]);
  });

  test("MOV SS holds interrupts and NMIs back for one instruction (6.8.3)", () => {
    // mov ss,ax; nop
    for (const slices of [[3], [1, 2], [1, 1, 1]]) {
      const r = new Rig([0x8e, 0xd0]);
      r.s.set64(L.GPR, 16, 0);
      let done = 0;
      for (const slice of slices) {
        done += r.go(slice);
        if (done === 1) {
          r.cpu.nmi(0);
          r.cpu.intr(true);
          expect(r.handler).toBe(-1);
        }
      }
      if (slices.length > 1) expect([r.events[0], r.handler]).toEqual(["nmi", 2]);
    }
  });

  test("one that arrives in the middle of an instruction is taken right behind it", () => {
    // out 0x10,al
    const r = new Rig([0x90, 0xe6, 0x10, 0x90]);
    r.onAccess = () => r.cpu.intr(true);
    r.go(3);
    expect([r.returnTo, r.rip]).toEqual([CODE + 3, HANDLERS + VECTOR * 16 + 1]);
  });
});

describe("priority (table 6-2)", () => {
  test("NMI before a maskable interrupt; the latter follows before the NMI handler's first instruction only if its gate leaves IF", () => {
    const r = new Rig([]);
    r.cpu.intr(true);
    r.cpu.nmi(0);
    r.go(1);
    expect([r.events, r.handler]).toEqual([["nmi"], 2]);
    const trap = new Rig([]);
    trap.gate(2, HANDLERS + 32, 0x8f);
    trap.cpu.intr(true);
    trap.cpu.nmi(0);
    trap.go(1);
    expect([trap.events, trap.handler, trap.returnTo]).toEqual([["nmi", "interrupt"], VECTOR, HANDLERS + 32]);
  });

  test("the single-step trap of the previous instruction before NMI and interrupt; both follow", () => {
    const r = new Rig([]);
    r.gate(1, HANDLERS + 16, 0x8f);
    r.gate(2, HANDLERS + 32, 0x8f);
    r.s.eflags = FLAG.if | FLAG.tf | 2;
    r.load(CODE, [0xe6, 0x10]);
    r.onAccess = () => {
      r.cpu.nmi(0);
      r.cpu.intr(true);
    };
    r.go(2);
    expect(r.events).toEqual(["#1", "nmi", "interrupt"]);
    expect(r.handler).toBe(VECTOR);
  });

  test("INIT before everything, and it drops what waited", () => {
    const r = new Rig([]);
    r.cpu.intr(true);
    r.cpu.nmi(0);
    r.cpu.init(0);
    r.apic.initReset = () => r.cpu.intr(false);
    r.bus.read = () => 0x90;
    r.go(3);
    expect(r.events).toEqual(["init"]);
    expect([r.s.int(L.CR0) & 1, r.rip]).toEqual([0, 0xfff3]);
  });

  test("events come before the fault of the next instruction's fetch", () => {
    const r = new Rig([]);
    r.map(0x50000, 0x50000, 0);
    r.rip = 0x50000;
    r.cpu.intr(true);
    r.go(1);
    expect([r.events, r.returnTo]).toEqual([["interrupt"], 0x50000]);
  });
});

describe("NMI (6.7)", () => {
  test("is blocked from its delivery until IRET, at most one waits, and the one that waits is taken right behind IRET", () => {
    const r = new Rig([]).returns(2);
    r.cpu.nmi(0);
    r.load(HANDLERS + 32, [0x90, 0x90, 0x48, 0xcf]);
    r.go(1);
    r.cpu.nmi(0);
    r.cpu.nmi(0);
    r.go(1);
    expect([r.events, r.rip]).toEqual([["nmi"], HANDLERS + 34]);
    // iretq, and the second NMI's first instruction
    r.go(2);
    expect([r.events, r.rip]).toEqual([["nmi", "nmi"], HANDLERS + 33]);
    r.go(2);
    r.go(3);
    expect([r.events.length, r.rip]).toEqual([2, CODE + 3]);
  });

  test("IRET of another handler unblocks it, too, and also an IRET that faults (6.7.1)", () => {
    const r = new Rig([0xcd, 0x20]).returns(0x20);
    r.s.setLo(L.NMI_BLOCKED, 1);
    r.go(1);
    r.cpu.nmi(0);
    expect(r.events).toEqual([]);
    r.go(1);
    expect([r.events, r.returnTo]).toEqual([["nmi"], CODE + 2]);
    const faulting = new Rig([0x48, 0xcf]);
    faulting.s.setLo(L.NMI_BLOCKED, 1);
    faulting.memory.setUint32(0x20008, 0x3ff8, true);
    faulting.go(1);
    expect([faulting.events, faulting.s.int(L.NMI_BLOCKED)]).toEqual([["#13"], 0]);
  });

  test("is not held back by IF or by STI's shadow (choice of interrupt-window.ts)", () => {
    const r = new Rig([0xfb]);
    r.s.eflags = 2;
    r.go(1);
    r.cpu.nmi(0);
    r.go(1);
    expect([r.events, r.returnTo]).toEqual([["nmi"], CODE + 1]);
  });
});

describe("HLT", () => {
  test("ends the run; an interrupt with IF = 1 or an NMI wakes, one that is masked does not", () => {
    const r = new Rig([0xf4]);
    expect(r.go(10)).toBe(1);
    expect([r.cpu.activity, r.go(10)]).toEqual([ACTIVITY.halted, 0]);
    r.cpu.intr(true);
    expect(r.cpu.activity).toBe(ACTIVITY.running);
    expect(r.go(1)).toBe(1);
    expect([r.events, r.returnTo]).toEqual([["wake", "interrupt"], CODE + 1]);

    const masked = new Rig([0xf4]);
    masked.s.eflags = 2;
    masked.go(10);
    masked.cpu.intr(true);
    expect([masked.cpu.activity, masked.go(10)]).toEqual([ACTIVITY.halted, 0]);
    masked.cpu.nmi(0);
    masked.go(1);
    expect([masked.events, masked.returnTo]).toEqual([["wake", "nmi"], CODE + 1]);
  });

  test("an NMI that is blocked does not wake", () => {
    const r = new Rig([0xf4]);
    r.s.setLo(L.NMI_BLOCKED, 1);
    r.go(2);
    r.cpu.nmi(0);
    expect([r.cpu.activity, r.go(5)]).toEqual([ACTIVITY.halted, 0]);
  });

  test("an SMI is counted and changes nothing", () => {
    const r = new Rig([0xf4]);
    r.go(2);
    r.cpu.smi(0);
    expect([r.go(5), r.s.int(L.SMI_COUNT), r.events]).toEqual([0, 1, ["smi"]]);
  });
});

describe("INIT and start-up (8.4, 9.1)", () => {
  /** An application processor that runs; at 0x12000 lie NOPs. */
  const application = (): Rig => {
    const r = new Rig([], false);
    r.load(0x12000, new Uint8Array(0x100).fill(0x90));
    return r;
  };
  const startedAt = (r: Rig): number[] => [
    r.s.selector(L.SEG.cs),
    r.s.segBase(L.SEG.cs),
    r.s.int(L.CR0) & 1,
    r.s.codeMode,
  ];

  test("INIT makes an application processor wait; nothing but SIPI is taken then; SIPI starts it at vector x 4 KiB in real mode", () => {
    const r = application();
    r.cpu.init(0);
    expect(r.go(5)).toBe(0);
    expect(r.cpu.activity).toBe(ACTIVITY.waitForSipi);
    r.cpu.intr(true);
    r.cpu.nmi(0);
    expect([r.cpu.activity, r.go(5)]).toEqual([ACTIVITY.waitForSipi, 0]);
    r.cpu.startup(0x12, 0);
    r.s.setLo(L.PENDING_OFFSET, r.s.int(L.PENDING_OFFSET) & ~(L.PENDING.nmi | L.PENDING.intr));
    expect(r.cpu.activity).toBe(ACTIVITY.running);
    expect(r.go(3)).toBe(3);
    expect([...startedAt(r), r.rip]).toEqual([0x1200, 0x12000, 0, 0, 3]);
    expect(r.events).toEqual(["init", "sipi", "wake"]);
  });

  test("a SIPI right behind INIT, before that was taken, is not lost; of two SIPIs the second changes nothing", () => {
    const r = application();
    r.cpu.init(0);
    r.cpu.startup(0x12, 0);
    expect(r.go(2)).toBe(2);
    r.cpu.startup(0x13, 0);
    expect(r.go(2)).toBe(2);
    expect([...startedAt(r), r.rip]).toEqual([0x1200, 0x12000, 0, 0, 4]);
  });

  test("INIT in the middle of a run, and INIT while it waits already", () => {
    const r = application();
    r.load(CODE, [0x90, 0xe6, 0x10, 0x90]);
    r.onAccess = () => r.cpu.init(0);
    expect([r.go(10), r.cpu.activity]).toEqual([2, ACTIVITY.waitForSipi]);
    r.cpu.init(0);
    expect([r.go(10), r.cpu.activity]).toEqual([0, ACTIVITY.waitForSipi]);
    r.cpu.startup(0x12, 0);
    expect(r.go(1)).toBe(1);
  });

  test("an interrupt that the local APIC still asserts after INIT waits on; one that it drops does not", () => {
    for (const asserts of [true, false, null]) {
      const r = application();
      r.cpu.intr(true);
      r.s.eflags = 2;
      // It tells changes only: null is no change.
      r.apic.initReset = () => (asserts === null ? undefined : r.cpu.intr(asserts));
      r.cpu.init(0);
      r.go(1);
      expect(r.s.int(L.PENDING_OFFSET) & L.PENDING.intr).toBe(Number(asserts ?? true));
    }
  });

  test("a SIPI to a processor that runs is ignored", () => {
    const r = new Rig([]);
    r.cpu.startup(0x12, 0);
    r.go(3);
    expect([r.events, r.rip]).toEqual([[], CODE + 3]);
  });

  test("INIT on the bootstrap processor starts it at the reset vector in real mode", () => {
    const r = new Rig([]);
    r.s.set64(L.GPR, 5, 5);
    r.s.set64(L.XMM, 7, 7);
    let resets = 0;
    r.apic.initReset = () => resets++;
    r.bus.read = () => 0x90;
    r.cpu.init(0);
    r.cpu.run(1);
    expect(r.rip).toBe(0xfff1);
    expect([resets, r.reg(0), r.s.lo(L.XMM), r.s.lo(L.CR0), r.s.codeMode]).toEqual([1, 0n, 7, 0x10, 0]);
    expect([r.s.selector(L.SEG.cs), r.s.lo(L.SEG_BASE + 8)]).toEqual([0xf000, 0xffff0000]);
  });
});

describe("shutdown (6.15)", () => {
  /** A triple fault: the IDT ends before its first gate. */
  function dead(): Rig {
    const r = new Rig([0x0f, 0x0b]);
    r.s.setLo(L.IDTR_LIMIT, 0);
    r.go(5);
    expect([r.cpu.activity, r.events.at(-1)]).toEqual([ACTIVITY.shutdown, "shutdown"]);
    return r;
  }

  test("maskable interrupts do not end it; NMI does", () => {
    const r = dead();
    r.cpu.intr(true);
    expect([r.cpu.activity, r.go(5)]).toEqual([ACTIVITY.shutdown, 0]);
    r.s.setLo(L.IDTR_LIMIT, 0xfff);
    r.cpu.intr(false);
    r.cpu.nmi(0);
    expect(r.cpu.activity).toBe(ACTIVITY.running);
    r.go(1);
    expect([r.handler, r.returnTo]).toEqual([2, CODE]);
  });

  test("INIT ends it", () => {
    const r = dead();
    r.bus.read = () => 0x90;
    r.cpu.init(0);
    r.cpu.run(1);
    expect([r.s.selector(L.SEG.cs), r.s.int(L.CR0) & 1]).toEqual([0xf000, 0]);
  });
});

describe("an interrupt that its own acknowledge raises again", () => {
  test("through a trap gate on an IST stack takes the machine for ever, but time passes and the run ends", () => {
    const rig = new Rig([]);
    rig.apic.acknowledge = () => VECTOR;
    rig.gate(VECTOR, HANDLERS, 0x8f, undefined, 1);
    rig.memory.setUint32(PLACE.tss + 0x24, PLACE.stack, true);
    rig.cpu.intr(true);
    expect(rig.go(5)).toBe(5);
    // 64 at a boundary: at the first, and behind each of the five nanoseconds, in which no instruction retires.
    expect(rig.events.filter(name => name === "interrupt")).toHaveLength(6 * 64);
    expect(rig.rip).toBe(HANDLERS);
  });
});
