/**
 * A scripted core by itself, on a board: what its operations do, and that interrupts and exceptions follow the manual (Intel SDM vol. 3A, chapter 6).
 * Expected values are the manual's: frames, error codes, priorities.
 */
import { describe, expect, test } from "vitest";
import { MIB } from "../../base/units.ts";
import { gateWords } from "../../kernel/interrupt-table.ts";
import { runScenario } from "../../machine/scenario.testing.ts";
import type { ScriptedMachine } from "../../machine/scenario.ts";
import { COST_TABLES } from "../../ports/cost-tables.ts";
import { EVENT } from "../../ports/events.ts";
import { PageMap } from "../../ports/page-map.ts";
import {
  breakpoint,
  CACHE_OP,
  cacheOperation,
  cli,
  compute,
  divide,
  exchange32,
  fence,
  GPR,
  halt,
  in8,
  int,
  interruptReturn,
  load,
  load8,
  load16,
  load32,
  load64,
  loadIdt,
  loadTask,
  out8,
  pop,
  popAll,
  portOut,
  push,
  pushAll,
  type Request,
  type Routine,
  readClock,
  readRegister,
  readSpecial,
  SELECTOR,
  SPECIAL,
  setPageMap,
  sti,
  store8,
  store16,
  store32,
  store64,
  switchTo,
  type Task,
  undefinedInstruction,
  writeRegister,
} from "../../ports/task.ts";

const IDT = 0x180000;
const TSS = 0x182000;
const STACK = 0x190000;
/** Local APIC registers (SDM vol. 3A, table "Local APIC Register Address Map"). */
const EOI = 0xfee000b0;
const ICR = 0xfee00300;
const TPR = 0xfee00080;
/** Fixed, level assert, to self. */
const SELF = 0x44000;

type Gates = { readonly [vector: number]: Routine | { routine: Routine; ist?: number; dpl?: number; type?: number } };

/** CPU 0 with these gates, a stack and a TSS, running `main` with interrupts on; then the machine is switched off. */
function run(
  main: (machine: ScriptedMachine) => Task,
  gates: Gates = {},
  options: { outside?: (machine: ScriptedMachine) => void; costs?: keyof typeof COST_TABLES } = {},
) {
  return runScenario(
    { memory: 4 * MIB, costs: COST_TABLES[options.costs ?? "fixed"] },
    machine => {
      machine.setProgram(0, function* program() {
        yield* writeRegister(GPR.rsp, STACK);
        for (const [vector, gate] of Object.entries(gates)) {
          const { routine, ist = 0, dpl = 0, type = 0xe } = typeof gate === "function" ? { routine: gate } : gate;
          yield* gateAt(Number(vector), machine.code.place(routine), { ist, privilegeLevel: dpl, type });
        }
        yield* loadIdt(IDT, 0xfff);
        yield* store64(TSS + 4, STACK + 0x2000);
        yield* store64(TSS + 36, STACK + 0x4000);
        yield* loadTask(TSS);
        yield* store32(0xfee000f0, 0x1ff);
        yield* sti();
        yield* compute(1);
        yield* main(machine);
        yield* portOut(0x604, 2, 0x2000);
      });
      options.outside?.(machine);
    },
    [EVENT.interrupt, EVENT.nmi, EVENT.exception, EVENT.softwareInterrupt, EVENT.iret, EVENT.cpl, EVENT.shutdown],
  );
}

function* gateAt(vector: number, address: number, more: { ist?: number; privilegeLevel?: number; type?: number }) {
  const [first, second, third] = gateWords({ address, ...more });
  yield* store32(IDT + 16 * vector, first);
  yield* store32(IDT + 16 * vector + 4, second);
  yield* store32(IDT + 16 * vector + 8, third);
}

const handler = (body: () => Task = function* () {}): Routine =>
  function* () {
    yield* body();
    yield* store32(EOI, 0);
  };

describe("memory", () => {
  test("loads and stores of every width are little endian, unsigned, and may be unaligned and cross pages", () => {
    const seen: number[] = [];
    run(function* () {
      yield* store32(0x150000, 0x89abcdef);
      for (const width of [1, 2, 4] as const) seen.push(yield* load(0x150000, width));
      seen.push(yield* load8(0x150003), yield* load16(0x150001));
      yield* store64(0x150ffc, 0x11223344556677);
      seen.push(yield* load64(0x150ffc), yield* load32(0x151000), yield* load16(0x150fff));
      yield* store16(0x150fff, 0xbeef);
      yield* store8(0x150ffd, 0xaa);
      seen.push(yield* load32(0x150ffc), yield* load32(0x150fff));
      seen.push(yield* exchange32(0x150000, 5), yield* load32(0x150000));
    });
    expect(seen).toEqual([
      ...[0xef, 0xcdef, 0x89abcdef, 0x89, 0xabcd],
      ...[0x11223344556677, 0x00112233, 0x3344],
      ...[0xef55aa77, 0x1122beef],
      ...[0x89abcdef, 5],
    ]);
  });

  test("a page that is not mapped raises #PF with CR2 and error code W/R, U/S, P (4.7); the access runs again afterwards", () => {
    const seen: number[] = [];
    const map = new PageMap();
    map.unmap(0x150000);
    map.map(0x151000, 0x152000, { writable: false });
    function* fault(): Task {
      seen.push(yield* pop(), yield* readSpecial(SPECIAL.cr2));
      if (seen.at(-1)! < 0x151000) map.map(0x150000, 0x153000);
      else map.map(0x151000, 0x152000);
    }
    const { events } = run(
      function* () {
        yield* setPageMap(map);
        yield* store32(0x152004, 7);
        seen.push(yield* load32(0x151004));
        yield* store32(0x150008, 9);
        yield* store32(0x151004, 8);
        seen.push(yield* load32(0x153008), yield* load32(0x152004));
      },
      { 14: fault },
    );
    expect(seen).toEqual([7, 2, 0x150008, 3, 0x151004, 9, 8]);
    expect(events.filter(({ kind }) => kind === EVENT.exception).map(({ a, b }) => [a, b])).toEqual([
      [14, 2],
      [14, 3],
    ]);
  });

  test("an address that is not canonical raises #GP(0)", () => {
    const seen: number[] = [];
    run(
      function* () {
        yield* load32(2 ** 47);
      },
      {
        13: function* () {
          seen.push(yield* pop());
          yield* store64(yield* readRegister(GPR.rsp), (yield* load64(yield* readRegister(GPR.rsp))) + 1);
        },
      },
    );
    expect(seen).toEqual([0]);
  });
});

test("on a board whose devices do not look into caches, a device sees a store only when its line was written back, and the CPU sees old data until it drops the line", () => {
  const seen: number[] = [];
  const bytes = new Uint8Array(4);
  runScenario({ memory: 4 * MIB, caches: { coherent: false, storeBuffer: false } }, machine => {
    const master = machine.pc.busMaster(8);
    const device = (): number => {
      master.read(0x150000, bytes, 0, 4);
      return bytes[0]!;
    };
    machine.setProgram(0, function* () {
      yield* store32(0x150000, 1);
      seen.push(device());
      yield* cacheOperation(CACHE_OP.writeBack, 0x150000, 4);
      yield* fence();
      seen.push(device());
      master.write(0x150000, Uint8Array.of(2, 0, 0, 0), 0, 4);
      seen.push(yield* load32(0x150000));
      yield* cacheOperation(CACHE_OP.flush, 0x150000, 4);
      seen.push(yield* load32(0x150000));
      yield* portOut(0x604, 2, 0x2000);
    });
  });
  expect(seen).toEqual([0, 1, 1, 2]);
});

describe("delivery (6.14)", () => {
  test("the frame is SS, RSP, RFLAGS, CS, RIP on a stack aligned to 16 bytes; an interrupt gate clears IF, a trap gate does not", () => {
    const seen: number[] = [];
    function* look(): Task {
      const rsp = yield* readRegister(GPR.rsp);
      seen.push(rsp, yield* load64(rsp + 8), yield* load64(rsp + 16), yield* load64(rsp + 24), yield* load64(rsp + 32));
      seen.push((yield* readSpecial(SPECIAL.flags)) & 0x200);
    }
    run(
      function* () {
        yield* push(1);
        yield* int(0x40);
        yield* int(0x41);
        yield* pop();
      },
      { 64: look, 65: { routine: look, type: 0xf } },
    );
    const frame = STACK - 16 - 40;
    const saved = [frame, SELECTOR.kernelCode, 0x202, STACK - 8, SELECTOR.kernelData];
    expect(seen).toEqual([...saved, 0, ...saved, 0x200]);
  });

  test("an IST entry of the gate gives the stack, whatever the present one is (6.14.5)", () => {
    let rsp = 0;
    run(
      function* () {
        yield* int(0x40);
      },
      {
        64: {
          routine: function* () {
            rsp = yield* readRegister(GPR.rsp);
          },
          ist: 1,
        },
      },
    );
    expect(rsp).toBe(STACK + 0x4000 - 40);
  });

  test("gates: not present #NP(vector × 8 + 2), another type and beyond the limit #GP(same); hardware sets EXT (6.13)", () => {
    const errors: number[][] = [];
    function* skip(vector: number): Task {
      errors.push([vector, yield* pop()]);
      const rsp = yield* readRegister(GPR.rsp);
      yield* store64(rsp, (yield* load64(rsp)) + 1);
    }
    run(
      function* () {
        yield* gateAt(0x42, 0x7000_0000_0000, { type: 0xc });
        yield* int(0x41);
        yield* int(0x42);
        yield* loadIdt(IDT, 0x41f);
        yield* int(0x42);
        yield* loadIdt(IDT, 0xfff);
        yield* store32(IDT + 0x41 * 16 + 4, 0x0e00);
        yield* store32(ICR, SELF | 0x41);
        yield* compute(1);
        yield* store32(EOI, 0);
      },
      {
        11: function* () {
          yield* skip(11);
        },
        13: function* () {
          yield* skip(13);
        },
      },
    );
    // A gate of zeros has type 0: #GP. The last one has the type and no P bit.
    expect(errors).toEqual([
      [13, 0x41 * 8 + 2],
      [13, 0x42 * 8 + 2],
      [13, 0x42 * 8 + 2],
      [11, 0x41 * 8 + 3],
    ]);
  });

  test("a fault while a fault is delivered is a double fault on its own stack; a third one shuts the CPU down, and the report has the chain", () => {
    const map = new PageMap();
    map.unmap(0x160000);
    const doubles: number[] = [];
    run(
      function* () {
        yield* setPageMap(map);
        yield* writeRegister(GPR.rsp, 0x160ff0);
        yield* load32(0x160000);
      },
      {
        14: function* () {},
        8: {
          routine: function* () {
            doubles.push(yield* pop(), yield* readSpecial(SPECIAL.cr2));
            yield* portOut(0x604, 2, 0x2000);
            yield* halt();
          },
          ist: 1,
        },
      },
    );
    expect(doubles).toEqual([0, 0x160ff0 - 48]);
    const dead = run(
      function* () {
        yield* setPageMap(map);
        yield* writeRegister(GPR.rsp, 0x160ff0);
        yield* load32(0x160000);
      },
      { 14: function* () {} },
    );
    expect(dead.exit).toMatchObject({ kind: "triple-fault", status: 70 });
    expect(dead.exit.detail).toMatch(/vector 14 error 0 .*, then vector 14 error 2 .*, then vector 8 error 0/);
    expect(dead.events.at(-1)!.kind).toBe(EVENT.shutdown);
  });

  test("a frame that was overwritten leads nowhere: #PF at that address, as an instruction fetch (bit 4)", () => {
    const seen: number[] = [];
    run(
      function* () {
        yield* int(0x40);
      },
      {
        64: function* () {
          yield* store64(yield* readRegister(GPR.rsp), 0x666000);
        },
        14: {
          routine: function* () {
            seen.push(yield* pop(), yield* readSpecial(SPECIAL.cr2));
            yield* portOut(0x604, 2, 0x2000);
            yield* halt();
          },
          ist: 1,
        },
      },
    );
    expect(seen).toEqual([0x10, 0x666000]);
  });
});

describe("when an interrupt is taken (table 6-2)", () => {
  test("inside a compute at the exact nanosecond, and the rest of the compute follows", () => {
    const times: number[] = [];
    const { events } = run(
      function* (machine) {
        const begin = yield* readClock();
        machine.pc.queue.alarm("line", () => machine.message(0xfee00000, 0x50)).armIn(1234);
        yield* compute(5000);
        times.push(begin, yield* readClock());
      },
      {
        80: handler(function* () {
          yield* compute(700);
        }),
      },
    );
    const taken = events.find(({ kind }) => kind === EVENT.interrupt)!;
    // The clock was read in one nanosecond, and the alarm armed at the beginning of the next.
    expect(taken.time - times[0]!).toBe(1235);
    // 700 ns, the EOI and the IRET.
    expect(times[1]! - times[0]!).toBe(1 + 5000 + 700 + 1 + 1);
  });

  test("an interrupt that an operation raises itself is taken at the boundary behind it; a higher class suspends a handler in its compute", () => {
    const log: string[] = [];
    run(
      function* () {
        yield* store32(ICR, SELF | 0x50);
        log.push("main");
        yield* compute(1);
      },
      {
        80: handler(function* () {
          yield* sti();
          yield* compute(10);
          yield* store32(ICR, SELF | 0x51);
          yield* store32(ICR, SELF | 0x90);
          log.push("0x50");
          yield* compute(10);
          yield* cli();
        }),
        81: handler(function* () {
          log.push("0x51");
          yield* compute(1);
        }),
        144: handler(function* () {
          log.push("0x90");
          yield* compute(1);
        }),
      },
    );
    expect(log).toEqual(["0x90", "0x50", "0x51", "main"]);
  });

  test("STI holds interrupts back for one operation; CLI and the task priority hold them back until they are let through", () => {
    const log: string[] = [];
    run(
      function* () {
        yield* cli();
        yield* store32(ICR, SELF | 0x50);
        yield* compute(100);
        log.push("masked");
        yield* sti();
        log.push("shadow");
        yield* compute(1);
        log.push("open");
        yield* store32(TPR, 0x60);
        yield* store32(ICR, SELF | 0x60);
        yield* compute(100);
        log.push("low");
        yield* store32(TPR, 0x50);
        log.push("end");
      },
      {
        80: handler(function* () {
          log.push("0x50");
          yield* compute(1);
        }),
        96: handler(function* () {
          log.push("0x60");
          yield* compute(1);
        }),
      },
    );
    expect(log).toEqual(["masked", "shadow", "0x50", "open", "low", "0x60", "end"]);
  });

  test("the shadow of STI covers HLT, so that no wake-up is lost", () => {
    const { exit } = run(
      function* () {
        yield* cli();
        yield* store32(ICR, SELF | 0x50);
        yield* sti();
        yield* halt();
      },
      { 80: handler() },
    );
    expect(exit.kind).toBe("power-off");
  });

  test("an NMI comes before an interrupt and is blocked until IRET (6.7.1)", () => {
    const log: string[] = [];
    run(
      function* () {
        yield* cli();
        yield* store32(ICR, SELF | 0x50);
        yield* store32(ICR, 0x44400);
        log.push("main");
        yield* compute(1);
        yield* sti();
        yield* compute(10);
      },
      {
        2: function* () {
          log.push("NMI begins");
          if (log.length < 3) yield* store32(ICR, 0x44400);
          yield* compute(5);
          log.push("NMI ends");
        },
        80: handler(function* () {
          log.push("0x50");
          yield* compute(1);
        }),
      },
    );
    expect(log).toEqual(["NMI begins", "NMI ends", "NMI begins", "NMI ends", "main", "0x50"]);
  });
});

describe("exceptions of operations", () => {
  test("#DE, #UD are faults: RIP names the operation, RIP + 1 skips it; #BP is a trap", () => {
    const log: number[] = [];
    const skip = (vector: number): Routine =>
      function* () {
        log.push(vector);
        const rsp = yield* readRegister(GPR.rsp);
        yield* store64(rsp, (yield* load64(rsp)) + 1);
      };
    run(
      function* () {
        log.push(yield* divide(7, 2));
        log.push(yield* divide(7, 0));
        yield* undefinedInstruction();
        yield* breakpoint();
        log.push(99);
      },
      {
        0: skip(0),
        6: skip(6),
        3: function* () {
          log.push(3);
          yield* compute(0);
        },
      },
    );
    expect(log).toEqual([3, 0, 0, 6, 3, 99]);
  });

  test("at level 3: privileged operations and gates of level 0 are #GP; the kernel's stack comes from RSP0; IRET returns to level 3", () => {
    const log: (number | string)[] = [];
    function* user(): Task {
      log.push("user", yield* readSpecial(SPECIAL.cpl));
      yield* cli();
      yield* in8(0x60);
      yield* int(0x41);
      yield* int(0x40);
      yield* compute(5);
      yield* int(0x42);
    }
    const { exit, events } = run(
      function* (machine) {
        yield* push(SELECTOR.userData);
        yield* push(0x1a0000);
        yield* push(0x202);
        yield* push(SELECTOR.userCode);
        yield* push(machine.code.place(user));
        yield* interruptReturn();
      },
      {
        13: function* () {
          log.push(yield* pop());
          const rsp = yield* readRegister(GPR.rsp);
          yield* store64(rsp, (yield* load64(rsp)) + 1);
        },
        64: {
          dpl: 3,
          routine: function* () {
            log.push((yield* readRegister(GPR.rsp)) - STACK);
          },
        },
        65: function* () {},
        66: {
          dpl: 3,
          routine: function* () {
            yield* portOut(0x604, 2, 0x2000);
          },
        },
      },
    );
    expect(exit.kind).toBe("power-off");
    expect(log).toEqual(["user", 3, 0, 0, 0x41 * 8 + 2, 0x2000 - 40]);
    expect(events.filter(({ kind }) => kind === EVENT.cpl).map(({ a }) => a)).toEqual([3, 0, 3, 0, 3, 0, 3, 0, 3, 0]);
  });

  test("IRET at level 3 cannot raise the privilege (#GP with the selector) nor switch interrupts off (SDM vol. 2, IRET)", () => {
    const log: number[] = [];
    function* frame(cs: number, flags: number, rip: number): Task {
      yield* push(SELECTOR.userData);
      yield* push(0x1a8000);
      yield* push(flags);
      yield* push(cs);
      yield* push(rip);
    }
    run(
      function* (machine) {
        const after = machine.code.place(function* after(): Task {
          log.push(yield* readSpecial(SPECIAL.cpl), (yield* readSpecial(SPECIAL.flags)) & 0x200);
          yield* int(0x42);
        });
        const user = machine.code.place(function* user(): Task {
          yield* frame(SELECTOR.kernelCode, 0x202, after);
          yield* interruptReturn();
          yield* frame(SELECTOR.userCode, 0x2, after);
          yield* interruptReturn();
        });
        yield* push(SELECTOR.userData);
        yield* push(0x1a0000);
        yield* push(0x202);
        yield* push(SELECTOR.userCode);
        yield* push(user);
        yield* interruptReturn();
      },
      {
        13: function* () {
          log.push(yield* pop());
          const rsp = yield* readRegister(GPR.rsp);
          yield* store64(rsp, (yield* load64(rsp)) + 1);
        },
        66: {
          dpl: 3,
          routine: function* () {
            yield* portOut(0x604, 2, 0x2000);
          },
        },
      },
    );
    expect(log).toEqual([SELECTOR.kernelCode, 3, 0x200]);
  });
});

describe("registers and stacks", () => {
  test("PUSH, POP and all registers at once; what a handler does not save it destroys", () => {
    const seen: number[] = [];
    run(
      function* () {
        yield* writeRegister(GPR.rax, 0x123456789a);
        yield* writeRegister(GPR.r15, 0x11, 0x22);
        yield* int(0x40);
        seen.push(yield* readRegister(GPR.rax), yield* readRegister(GPR.r15));
        yield* int(0x41);
        seen.push(yield* readRegister(GPR.rax));
      },
      {
        64: function* () {
          yield* pushAll();
          const rsp = yield* readRegister(GPR.rsp);
          seen.push(yield* load64(rsp), yield* load64(rsp + 112));
          yield* writeRegister(GPR.rax, 1);
          yield* writeRegister(GPR.r15, 2);
          yield* popAll();
        },
        65: function* () {
          yield* writeRegister(GPR.rax, 1);
        },
      },
    );
    const r15 = 0x22 * 2 ** 32 + 0x11;
    expect(seen).toEqual([r15, 0x123456789a, 0x123456789a, r15, 1]);
  });

  test("switchTo: two tasks hand the CPU to and fro, each with its stack and callee-saved registers", () => {
    const log: (string | number)[] = [];
    const [slotA, slotB] = [0x170000, 0x170008];
    run(function* (machine) {
      const b = machine.code.place(function* second(): Task {
        for (let i = 0; i < 2; i++) {
          log.push(`b${i}`);
          yield* writeRegister(GPR.rbx, 1000 + i);
          yield* switchTo(slotB, yield* load64(slotA));
          log.push(yield* readRegister(GPR.rbx));
        }
      });
      const top = 0x1b0000;
      yield* store64(top - 8, b);
      yield* store64(slotB, top - 56);
      for (let i = 0; i < 2; i++) {
        yield* writeRegister(GPR.rbx, i);
        log.push(`a${i}`);
        yield* switchTo(slotA, yield* load64(slotB));
        log.push(yield* readRegister(GPR.rbx), (yield* readRegister(GPR.rsp)) - STACK);
      }
    });
    expect(log).toEqual(["a0", "b0", 0, 0, "a1", 1000, "b1", 1, 0]);
  });
});

describe("time", () => {
  test("run(budget) retires exactly the budget, wherever it cuts a compute, an operation's cost or a handler's entry", () => {
    const scenario = (machine: ScriptedMachine): void => {
      machine.every(3000, 997, 40, () => machine.message(0xfee00000, 0x50));
    };
    const main = function* (): Task {
      for (let i = 0; i < 40; i++) {
        yield* compute(1000 + i);
        yield* out8(0x80, i);
      }
    };
    const gates = { 80: handler(() => compute(100) as unknown as Generator<Request, void, number>) };
    const whole = run(main, gates, { outside: scenario, costs: "desktop" });
    const again = run(main, gates, { outside: scenario, costs: "desktop" });
    expect(again.hash).toBe(whole.hash);
    expect(whole.machine.pc.retired).toBe(whole.machine.pc.cpus[0]!.retired);
    // A lone CPU: one nanosecond is one retired instruction.
    expect(whole.machine.pc.retired).toBe(whole.machine.pc.clock.now());
  });

  test("the cost table decides: entry, exit, port and register accesses of `desktop`", () => {
    const times: number[] = [];
    run(
      function* () {
        const at = [yield* readClock()];
        yield* in8(0x61);
        at.push(yield* readClock());
        yield* load32(0xfee00020);
        at.push(yield* readClock());
        yield* int(0x40);
        at.push(yield* readClock());
        for (let i = 1; i < at.length; i++) times.push(at[i]! - at[i - 1]! - 1);
      },
      { 64: function* () {} },
      { costs: "desktop" },
    );
    const { portRead, mmioRead, interruptEntry, interruptExit } = COST_TABLES.desktop;
    expect(times).toEqual([portRead, mmioRead, 1 + interruptEntry + interruptExit]);
  });

  test("a program that takes no time is stopped with a line that names it", () => {
    expect(() =>
      run(function* () {
        for (;;) yield* compute(0);
      }),
    ).toThrow(/CPU 0: program goes on without taking time/);
  });
});
