/**
 * Run control of a whole machine, without the protocol: what stops where, and that no stop, step or watch changes a run. The guest is the demonstration: two
 * CPUs, interrupts of all kinds. Its handlers' addresses come from the interrupt descriptor table that it made.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { X86Cpu } from "../cpu/cpu.ts";
import * as L from "../cpu/layout.ts";
import type { EventNames } from "../export/names.ts";
import { Pc } from "../machine/pc.ts";
import { Rng } from "../sim/rng.ts";
import { readMemory } from "./memory.ts";
import { PcTarget } from "./pc-target.ts";
import { type Action, STEP_FLAG, STOP_KIND, type StopReason } from "./target.ts";

const guest = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(fileURLToPath(new URL(`../../guests/${name}`, import.meta.url))));
const bytes = guest("demo.elf");
const nameless = (): string => "";
const NAMES: EventNames = {
  ...{ line: nameless, pin: nameless, irq: nameless, address: nameless, port: nameless },
  ...{ device: nameless, msr: nameless },
};
const TIMER_VECTOR = 0x30;
const IPI_VECTOR = 0x60;

class Debugged {
  readonly pc: Pc;
  readonly stops: StopReason[] = [];
  readonly target: PcTarget;

  constructor(cpus = 2, image = bytes) {
    this.pc = new Pc({ cpus, memory: 64 << 20, image: { name: "demo.elf", bytes: image, args: "" } });
    this.target = new PcTarget(this.pc, NAMES, {
      hasKeys: false,
      stopped: reason => this.stops.push(reason),
      say: () => {},
    });
    this.target.attach();
  }
  cpu(n: number): X86Cpu {
    const cpu = this.pc.cpus[n];
    if (!(cpu instanceof X86Cpu)) throw new Error("no x86 processor");
    return cpu;
  }
  rip(n: number): number {
    return this.cpu(n).linearRip;
  }
  /** Goes on until a stop (which it returns) or the end of the run (null). Turns of odd lengths, as a host has. */
  go(actions: readonly Action[] = this.pc.cpus.map(() => "go")): StopReason | null {
    this.target.resume(actions);
    while (!this.target.standing) {
      const exit = this.target.run(this.pc.retired + 7777, Number.POSITIVE_INFINITY);
      if (exit !== null) return null;
    }
    return this.stops[this.stops.length - 1]!;
  }
}

let plainHash: string;
let plainEnd: number;
/** Handlers by vector, of the guest's own table. */
let handler: (vector: number) => number;

beforeAll(() => {
  const d = new Debugged();
  expect(d.go()).toBeNull();
  plainHash = d.pc.stateHash();
  plainEnd = d.pc.retired;
  const cpu = d.cpu(0);
  const table = readMemory(cpu, cpu.ctx.state.num(L.IDTR_BASE), 4096, false)!;
  const view = new DataView(table.buffer, table.byteOffset);
  handler = vector => view.getUint16(vector * 16, true) | (view.getUint16(vector * 16 + 6, true) << 16);
});

test("a debugger that only goes on sees the run that there is without one", () => {
  const pc = new Pc({ cpus: 2, memory: 64 << 20, image: { name: "demo.elf", bytes, args: "" } });
  while (pc.run(Number.POSITIVE_INFINITY) === null);
  expect(plainHash).toBe(pc.stateHash());
});

describe("breakpoints", () => {
  test("a handler is stopped at before its first instruction, as often as the report counts (README: timer 5, IPI 4 on both CPUs)", () => {
    const d = new Debugged();
    expect(d.target.addStop(STOP_KIND.software, handler(TIMER_VECTOR), 1)).toBe(true);
    expect(d.target.addStop(STOP_KIND.hardware, handler(IPI_VECTOR), 1)).toBe(true);
    const seen: string[] = [];
    for (let stop = d.go(); stop !== null; stop = d.go()) {
      expect([handler(TIMER_VECTOR), handler(IPI_VECTOR)]).toContain(d.rip(stop.cpu));
      seen.push(`${stop.why} ${stop.cpu}`);
    }
    const count = (what: string): number => seen.filter(text => text === what).length;
    expect([count("swbreak 0"), count("hwbreak 0"), count("hwbreak 1"), seen.length]).toEqual([5, 2, 2, 9]);
    expect(d.pc.stateHash()).toBe(plainHash);
  });

  test("getting off a breakpoint as gdb does, by a step with the breakpoint away and the other CPU standing, changes nothing", () => {
    const d = new Debugged();
    const at = handler(IPI_VECTOR);
    let stops = 0;
    d.target.addStop(STOP_KIND.software, at, 1);
    for (let stop = d.go(); stop !== null; stop = d.go()) {
      stops++;
      d.target.removeStop(STOP_KIND.software, at, 1);
      d.go(stop.cpu === 0 ? ["step", "stand"] : ["stand", "step"]);
      d.target.addStop(STOP_KIND.software, at, 1);
    }
    expect(stops).toBe(4);
    expect(d.pc.stateHash()).toBe(plainHash);
  });
});

/** A raw multiboot image at 1 MiB. CPU 0 starts CPU 1, counts to 20000 in memory and ends the run; CPU 1 counts in AX, at 0x8000, for ever. */
function twoAtOnce(): Uint8Array {
  const code = [
    "c70500800000 40ebfd00", // mov dword [0x8000], inc ax; jmp $-1
    "c705f000e0fe ff010000 c7051003e0fe 00000001", // local APIC on; ICR high: CPU 1
    "c7050003e0fe 00450000 c7050003e0fe 08460000", // INIT; start-up at 0x8000
    "41 890d00003000 6681f9204e 75f2 b010 e6f4", // inc ecx; mov [0x300000],ecx; cmp cx,20000; jne; exit
  ];
  const load = 0x100000;
  const image = Buffer.concat([Buffer.alloc(32), Buffer.from(code.join("").replaceAll(" ", ""), "hex")]);
  [0x1badb002, 0x10000, -(0x1badb002 + 0x10000), load, load, 0, 0, load + 32].forEach((word, i) => {
    image.writeInt32LE(word | 0, i * 4);
  });
  return image;
}

test("two CPUs that run at once: stops wherever they are, left by steps while the other stands, change nothing", () => {
  const image = twoAtOnce();
  const plain = new Debugged(2, image);
  expect(plain.go()).toBeNull();
  const rng = new Rng("two");
  const d = new Debugged(2, image);
  let together = 0;
  d.target.addStop(STOP_KIND.hardware, 0x8000, 1);
  expect(d.go()).toMatchObject({ cpu: 1, why: "hwbreak" });
  d.target.removeStop(STOP_KIND.hardware, 0x8000, 1);
  for (let n = 0; n < 100; n++) {
    const at = d.rip(rng.below(2));
    d.target.addStop(STOP_KIND.software, at, 1);
    const stop = d.go();
    d.target.removeStop(STOP_KIND.software, at, 1);
    if (stop === null) break;
    if (d.pc.scheduler.state.count > 1) together++;
    d.go(stop.cpu === 0 ? ["step", "stand"] : ["stand", "step"]);
    // Some way on, so that stops fall anywhere in a slice.
    d.target.resume(["go", "go"]);
    d.target.run(d.pc.retired + 1 + rng.below(300), Number.POSITIVE_INFINITY);
    d.target.interrupt();
  }
  expect(together).toBeGreaterThan(20);
  d.target.detach();
  while (d.target.run(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY) === null);
  expect(d.pc.retired).toBe(plain.pc.retired);
  expect(d.pc.stateHash()).toBe(plain.pc.stateHash());
});

describe("steps", () => {
  test("a step retires one instruction of its CPU, and the others keep their order: thousands of them do not change the run", () => {
    const d = new Debugged();
    d.target.addStop(STOP_KIND.hardware, handler(IPI_VECTOR), 1);
    expect(d.go()).not.toBeNull();
    for (let n = 0; n < 1500; n++) {
      const cpu = d.cpu(0);
      const before = cpu.retired;
      const stop = d.go(["step", "go"])!;
      // More than one where a handler ran meanwhile; none where an exception's handler was entered.
      if (stop.why === "signal") expect(cpu.retired - before).toBeGreaterThanOrEqual(1);
      else expect(stop.why).toBe("hwbreak");
    }
    d.target.removeStop(STOP_KIND.hardware, handler(IPI_VECTOR), 1);
    expect(d.go()).toBeNull();
    expect(d.pc.stateHash()).toBe(plainHash);
  });

  test("in or out of interrupt handlers: the same run, other places", () => {
    const places = (flags: number): { inHandler: number; hash: string } => {
      const d = new Debugged();
      d.target.stepFlags = flags;
      // The IRET of the first timer interrupt leads to the wait for the next one.
      d.target.addStop(STOP_KIND.hardware, handler(TIMER_VECTOR), 1);
      d.go();
      d.target.removeStop(STOP_KIND.hardware, handler(TIMER_VECTOR), 1);
      let inHandler = 0;
      for (let n = 0; n < 400; n++) {
        const stop = d.go(["step", "go"])!;
        if (d.rip(stop.cpu) === handler(TIMER_VECTOR)) inHandler++;
      }
      expect(d.go()).toBeNull();
      return { inHandler, hash: d.pc.stateHash() };
    };
    const entering = places(STEP_FLAG.enable);
    const keepingOut = places(STEP_FLAG.enable | STEP_FLAG.noIrq);
    expect(entering.inHandler).toBeGreaterThan(0);
    expect(keepingOut.inHandler).toBe(0);
    expect([entering.hash, keepingOut.hash]).toEqual([plainHash, plainHash]);
  });
});

describe("whatever a user does but write", () => {
  test.each([1, 2, 3])("random stops, watches, steps and interrupts end in the same state (%i)", seed => {
    const rng = new Rng(seed);
    const d = new Debugged();
    const actions: readonly (readonly Action[])[] = [
      ["go", "go"],
      ["step", "go"],
      ["go", "step"],
      ["step", "step"],
    ];
    for (let n = 0; n < 300; n++) {
      const here = d.rip(rng.below(2));
      const add = rng.below(2) === 0;
      const kind = rng.below(5);
      const sp = d.cpu(0).ctx.state.num(L.REG.rsp * 8);
      const address = kind < 2 ? here + rng.below(12) : sp - rng.below(64);
      if (add) d.target.addStop(kind, address, 4);
      else d.target.removeStop(kind, address, 4);
      d.target.stepFlags = rng.below(8);
      d.target.resume(actions[rng.below(4)]!);
      for (let turn = 0; turn < 3 && !d.target.standing; turn++)
        if (d.target.run(d.pc.retired + 1 + rng.below(3000), Number.POSITIVE_INFINITY) !== null) break;
      d.target.interrupt();
      expect(d.target.standing).toBe(true);
    }
    d.target.detach();
    while (d.target.run(d.pc.retired + 100_000, Number.POSITIVE_INFINITY) === null);
    expect(d.pc.retired).toBe(plainEnd);
    expect(d.pc.stateHash()).toBe(plainHash);
  });
});
