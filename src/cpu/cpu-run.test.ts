/** The run loop: exact budgets, progress as devices see it, and state that can be saved at every instruction boundary. */
import { expect, test } from "vitest";
import { ACTIVITY } from "../ports/processor.ts";
import * as L from "./layout.ts";
import { LongFixture } from "./long-fixture.ts";

const CODE = 0x10000;
const at = (f: LongFixture, offset: number, hex: string): void => {
  f.load(
    CODE + offset,
    Uint8Array.from(hex.match(/[0-9a-f]{2}/g)!, byte => Number.parseInt(byte, 16)),
  );
};

/** Instructions of one lap, counted by hand below, and of the whole program. */
const LAP = 68;
const LAPS = 3;
const WHOLE = LAP * LAPS + 1;

/** A program of branches, calls, repeated strings, faults, interrupts, ports and device registers, also across pages. */
function program(): LongFixture {
  const f = new LongFixture();
  // mov ecx,5: 1. Five times call 1800; dec ecx; jnz, with two instructions in the function: 25.
  at(f, 0, "b905000000 e8f6170000 ffc9 75f7");
  at(f, 0x1800, "49ffc7 c3");
  // mov edi,0x30000; mov esi,0x31000; mov ecx,100; rep movsb, at once in RAM: 4.
  at(f, 0x0e, "bf00000300 be00100300 b964000000 f3a4");
  // mov edi,0x1000000; mov ecx,3; rep stosb, one iteration each in a device: 5.
  at(f, 0x1f, "bf00000001 b903000000 f3aa");
  // ud2: does not retire; handler add qword [rsp],2; iretq: 2.
  at(f, 0x2b, "0f0b");
  at(f, 0x1840, "4883042402 48cf");
  // int 0x80: 1, handler inc r12; iretq: 2.
  at(f, 0x2d, "cd80");
  at(f, 0x1880, "49ffc4 48cf");
  // mov eax,[0x40000000]: page fault; handler add rsp,8; add qword [rsp],7; mov r11,cr2; iretq: 4.
  at(f, 0x2f, "8b042500000040");
  at(f, 0x18c0, "4883c408 4883042407 410f20d3 48cf");
  // xor edx,edx; xor ebx,ebx: 2; div ebx: divide error, handler as for ud2: 2.
  at(f, 0x36, "31d2 31db f7f3");
  // in al,0x60; out 0x61,al; sti; nop; out 0x30,al: 5, which raises INTR: handler inc r10; out 0x20,al; iretq: 3.
  at(f, 0x3c, "e460 e661 fb 90 e630");
  at(f, 0x1940, "49ffc2 e620 48cf");
  // nop; cli; inc r14; mov edi,0x1000000; mov eax,[rdi]; mov esi,0x1000010; push [rsi]; pop rdx; jmp: 9.
  at(f, 0x44, "90 fa 49ffc6 bf00000001 8b07 be10000001 ff36 5a e9a00f0000");
  // Across the page: mov r13d,0x12345678; cmp r14d,3; jb start: 3; at the end hlt: 1.
  at(f, 0xffd, "41bd78563412 4183fe03 0f82f3efffff f4");
  f.gate(6, CODE + 0x1840);
  f.gate(0, CODE + 0x1840);
  f.gate(0x80, CODE + 0x1880);
  f.gate(14, CODE + 0x18c0);
  f.gate(0x30, CODE + 0x1940);
  f.apic.acknowledge = () => {
    f.cpu.intr(false);
    return 0x30;
  };
  f.onAccess = what => {
    if (what === "out 30") f.cpu.intr(true);
  };
  f.rip = CODE;
  return f;
}

type Moment = { readonly registers: Uint8Array; readonly ram: Uint8Array };
const RAM_USED = 0x40000;
const save = (f: LongFixture): Moment => ({ registers: f.registers.slice(), ram: f.ram.bytes.slice(0, RAM_USED) });
function load(f: LongFixture, moment: Moment, before: number): void {
  f.registers.set(moment.registers);
  // The code did not change, so decoded code stays; what is known of translations does not.
  f.ram.bytes.set(moment.ram);
  f.before = before;
  f.accesses.length = 0;
  f.cpu.restored();
}
/** Comparing byte by byte through the test framework would take long. */
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** The program one instruction at a time: state before instruction n, and the accesses. */
const reference = (() => {
  const f = program();
  const moments = [save(f)];
  for (let n = 0; n < WHOLE; n++) {
    expect(f.go(1)).toBe(1);
    moments.push(save(f));
  }
  return { moments, accesses: [...f.accesses] };
})();

test("the program retires what counting by hand gives, and does what it should", () => {
  const f = program();
  expect(f.go(1_000_000)).toBe(WHOLE);
  expect(f.cpu.activity).toBe(ACTIVITY.halted);
  expect(f.cpu.retired).toBe(WHOLE);
  expect([10, 12, 14, 15, 11, 13].map(n => f.reg(n))).toEqual([3n, 3n, 3n, 15n, 0x40000000n, 0x12345678n]);
  // Instructions before each access of the first lap.
  const lap = f.accesses.filter(([, n]) => n < LAP).map(([what, n]) => `${n} ${what}`);
  expect(lap).toEqual([
    "32 write 1000000",
    "33 write 1000001",
    "34 write 1000002",
    "48 in 60",
    "49 out 61",
    "52 out 30",
    "54 out 20",
    "60 read 1000000",
    "62 read 1000010",
    "62 read 1000014",
  ]);
});

test("every budget is retired exactly, and at each boundary registers and memory are those of single steps", () => {
  const f = program();
  for (let budget = 1; budget <= 200; budget++) {
    load(f, reference.moments[0]!, 0);
    // Three slices are enough for a long budget; the short ones run all of it.
    for (let n = 0; n + budget <= WHOLE; n += budget) {
      if (f.go(budget) !== budget) expect.unreachable(`budget ${budget} at ${n}`);
      const expected = reference.moments[n + budget]!;
      if (!same(f.registers, expected.registers)) expect(f.registers).toEqual(expected.registers);
    }
    const rest = WHOLE % budget;
    if (rest !== 0) expect(f.go(budget)).toBe(rest);
    expect(same(f.ram.bytes.subarray(0, RAM_USED), reference.moments[WHOLE]!.ram)).toBe(true);
    expect(f.accesses).toEqual(reference.accesses);
  }
});

test("progress, as devices see it, never goes back and does not depend on the budget", () => {
  const f = program();
  f.go(1_000_000);
  expect(f.accesses).toEqual(reference.accesses);
  const counts = f.accesses.map(([, n]) => n);
  expect(counts).toEqual([...counts].sort((a, b) => a - b));
  expect(f.cpu.progress).toBe(0);
});

test("registers saved at any instruction boundary and loaded into another processor, with nothing decoded, go on to the same end", () => {
  const end = reference.moments[WHOLE]!;
  for (let n = 0; n < WHOLE; n += 3) {
    const f = program();
    load(f, reference.moments[n]!, n);
    expect(f.go(1_000_000)).toBe(WHOLE - n);
    expect(same(f.registers, end.registers)).toBe(true);
    expect(same(f.ram.bytes.subarray(0, RAM_USED), end.ram)).toBe(true);
  }
});

test("nothing that is saved depends on what was decoded or translated before: a cold step is a warm step", () => {
  const warm = program();
  warm.go(1_000_000);
  for (let n = 0; n < WHOLE; n++) {
    load(warm, reference.moments[n]!, n);
    warm.engine.code.drop();
    expect(warm.go(1)).toBe(1);
    if (!same(warm.registers, reference.moments[n + 1]!.registers))
      expect(warm.registers).toEqual(reference.moments[n + 1]!.registers);
  }
});

test("stop() from inside a device access ends the run behind that instruction", () => {
  const clean = [...new Set(reference.accesses.map(([, n]) => n))];
  for (const [index, n] of clean.entries()) {
    const f = program();
    let armed = true;
    const { onAccess } = f;
    f.onAccess = what => {
      onAccess(what);
      if (armed && f.accesses.at(-1)![1] === n) f.cpu.stop();
    };
    expect(f.go(1_000_000)).toBe(n + 1);
    expect(same(f.registers, reference.moments[n + 1]!.registers)).toBe(true);
    armed = false;
    expect(f.go(1_000_000)).toBe(WHOLE - n - 1);
    if (index > 12) break;
  }
});

test("stop() before a run does not shorten it", () => {
  const f = program();
  f.cpu.stop();
  expect(f.go(10)).toBe(10);
});

test("a halted processor retires nothing and its state stays", () => {
  const f = program();
  f.go(1_000_000);
  const before = f.registers.slice();
  expect(f.go(100)).toBe(0);
  expect(same(f.registers, before)).toBe(true);
  expect(f.s.int(L.ACTIVITY_OFFSET)).toBe(ACTIVITY.halted);
});

test("a handler that faults for ever does not stop time: from some number in a row on, each exception counts as one instruction", () => {
  const endless = (): LongFixture => {
    const f = program();
    // The page fault's handler lies in a page that is not there; IST1 gives the same stack each time.
    f.gate(14, 0x50000, 0x8e, 8, 1);
    f.map(0x50000, 0x50000, 0);
    f.memory.setUint32(0x6000 + 36, 0x24000, true);
    f.s.set64(L.CR2, 0, 0);
    return f;
  };
  const [one, two, three] = [endless(), endless(), endless()];
  // 40 instructions come before the fault.
  expect(one.go(40)).toBe(40);
  expect(one.s.lo(L.CR2)).toBe(0);
  expect(one.go(960)).toBe(960);
  expect(one.s.lo(L.CR2)).toBe(0x50000);
  for (let n = 0; n < 1000; n++) expect(two.go(1)).toBe(1);
  expect(three.go(1000)).toBe(1000);
  expect(same(one.registers, three.registers)).toBe(true);
  expect(same(two.registers, three.registers)).toBe(true);
});

test("a few exceptions in a row take no time: a handler that is brought in by another fault retires what it executes", () => {
  const f = program();
  // The handler of #UD lies in an absent page; the #PF handler maps it (mov byte [0x7280],0x67 for page 0x50000), drops its error code and returns.
  f.map(0x50000, 0x50000, 0x66);
  f.load(0x50000, Uint8Array.of(0x90, 0x90));
  f.gate(6, 0x50000);
  at(f, 0x1a00, "c604258072000067 4883c408 48cf");
  f.gate(14, CODE + 0x1a00);
  // 35 to ud2; mov, add, iretq; nop, nop.
  expect(f.go(40)).toBe(40);
  expect(f.rip).toBe(0x50002);
});
