import { beforeEach, describe, expect, it } from "vitest";
import { FUZZ_TIMEOUT, fuzzPart } from "../../test/fuzz-part.ts";
import { Line } from "../ports/line.ts";
import type { Part } from "../ports/part.ts";
import { describePart } from "../ports/part.contract.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import type { Rng } from "../sim/rng.ts";
import { I8042_CONTROL, I8042_OUTPUT_PORT, I8042_STATUS } from "./i8042.regs.ts";
import { I8042 } from "./i8042.ts";
import { Ps2Keyboard } from "./ps2-keyboard.ts";
import { SET1_BY_NAME } from "./ps2-keys.ts";
import { Ps2Mouse } from "./ps2-mouse.ts";

const KEYS = [...SET1_BY_NAME.keys()];

/** Controller, keyboard and mouse as the board wires them; one part, so that the suite saves and resets them together. */
function make() {
  const queue = new EventQueue(new Clock());
  const irq1 = new Line("irq1");
  const irq12 = new Line("irq12");
  const told: string[] = [];
  const keyboard = new Ps2Keyboard({ onLeds: leds => told.push(`leds ${leds}`) });
  const mouse = new Ps2Mouse();
  const controller = new I8042({
    queue,
    keyboardIrq: irq1.pin(),
    mouseIrq: irq12.pin(),
    keyboard,
    mouse,
    a20: on => told.push(`a20 ${on}`),
    resetRequest: () => told.push("reset"),
  });
  const parts: Part[] = [controller, keyboard, mouse];
  const part: Part = {
    name: "ps2",
    state: { controller: controller.state, keyboard: keyboard.state, mouse: mouse.state },
    reset: (phase, kind) => {
      for (const p of parts) p.reset(phase, kind);
    },
  };
  return {
    part,
    controller,
    keyboard,
    mouse,
    queue,
    irq1,
    irq12,
    told,
    windows: [controller.dataPort, controller.commandPort],
    outputs: [irq1, irq12],
    sent: () => told.length,
    stimulate: (rng: Rng) => {
      if (rng.chance(1, 2)) keyboard.key(rng.pick(KEYS), rng.chance(1, 2));
      else mouse.mouse(rng.below(600) - 300, rng.below(600) - 300, rng.below(32), rng.below(20) - 10);
    },
  };
}

let rig: ReturnType<typeof make>;
beforeEach(() => {
  rig = make();
});
const command = (value: number): void => rig.controller.commandPort.write(0, 1, value);
const data = (value: number): void => rig.controller.dataPort.write(0, 1, value);
const status = (): number => rig.controller.commandPort.read(0, 1);
const get = (): number => rig.controller.dataPort.read(0, 1);
function run(ns: number): void {
  const { queue } = rig;
  const end = queue.clock.now() + ns;
  while (queue.nextDeadline() <= end) {
    queue.clock.advanceTo(queue.nextDeadline());
    queue.runDue();
  }
  queue.clock.advanceTo(end);
}
const MS = 1_000_000;
/** Reads everything that comes. */
function drain(): number[] {
  const bytes: number[] = [];
  for (let i = 0; i < 40; i++) {
    run(MS);
    if ((status() & 1) === 0) break;
    bytes.push(get());
  }
  return bytes;
}
const toMouse = (byte: number): void => {
  command(0xd4);
  data(byte);
};
function controlByte(value: number): void {
  command(0x60);
  data(value);
}

describe("8042 layouts", () => {
  it("pins the bits of the technical reference", () => {
    const { outputFull, inputFull, system, command: wasCommand, auxiliaryFull } = I8042_STATUS;
    expect([outputFull, inputFull, system, wasCommand, auxiliaryFull].map(f => f.mask)).toEqual([1, 2, 4, 8, 0x20]);
    const { keyboardInterrupt, auxiliaryInterrupt, keyboardDisable, auxiliaryDisable, translate } = I8042_CONTROL;
    expect(
      [keyboardInterrupt, auxiliaryInterrupt, keyboardDisable, auxiliaryDisable, translate].map(f => f.mask),
    ).toEqual([1, 2, 0x10, 0x20, 0x40]);
    expect([I8042_OUTPUT_PORT.notReset.mask, I8042_OUTPUT_PORT.a20.mask]).toEqual([1, 2]);
  });
});

describe("8042 controller commands", () => {
  it.each([
    ["self test", 0xaa, 0x55],
    ["keyboard interface test", 0xab, 0x00],
    ["auxiliary interface test", 0xa9, 0x00],
    ["password test", 0xa4, 0xf1],
    ["read command byte", 0x20, 0x65],
    ["read output port", 0xd0, 0xcf],
    ["read input port", 0xc0, 0x80],
  ])("%s (%i) answers %i", (_name, code, answer) => {
    command(code);
    expect(status() & 1).toBe(0);
    run(MS);
    expect([status() & 0x21, get()]).toEqual([1, answer]);
    expect(status() & 1).toBe(0);
  });
  it("keeps the command byte and its enables", () => {
    controlByte(0x77);
    command(0x20);
    command(0xae);
    command(0x20);
    command(0xa8);
    command(0x20);
    command(0xad);
    command(0xa7);
    command(0x20);
    expect(drain()).toEqual([0x77, 0x67, 0x47, 0x77]);
  });
  it("keeps its RAM", () => {
    command(0x7f);
    data(0x99);
    command(0x3f);
    expect(drain()).toEqual([0x99]);
  });
  it("tells in the status which port was written last", () => {
    command(0x60);
    expect(status() & 8).toBe(8);
    data(0x65);
    expect(status() & 8).toBe(0);
  });
  it("puts bytes into the output buffer for the keyboard and for the mouse (D2, D3)", () => {
    controlByte(0x47);
    command(0xd2);
    data(0x5a);
    run(MS);
    expect([status() & 0x21, rig.irq1.level, rig.irq12.level, get()]).toEqual([0x01, true, false, 0x5a]);
    command(0xd3);
    data(0xa5);
    run(MS);
    expect([status() & 0x21, rig.irq1.level, rig.irq12.level, get()]).toEqual([0x21, false, true, 0xa5]);
  });
  it("drives A20 through the output port and by commands DD and DF", () => {
    command(0xd1);
    data(0x01);
    command(0xdf);
    command(0xdd);
    expect(rig.told).toEqual(["a20 false", "a20 true", "a20 false"]);
  });
  it("pulses reset by FE and by clearing bit 0 of the output port, and by no other pulse", () => {
    command(0xff);
    command(0xfd);
    expect(rig.told).toEqual([]);
    command(0xfe);
    command(0xd1);
    data(0x02);
    expect(rig.told).toEqual(["reset", "a20 true", "reset"]);
  });
});

describe("8042 interrupts and timing", () => {
  it("holds IRQ 1 from the byte's arrival until port 0x60 is read, one byte after the other", () => {
    rig.keyboard.key("KeyA");
    rig.keyboard.key("KeyB");
    expect(rig.irq1.level).toBe(false);
    run(MS);
    expect(rig.irq1.level).toBe(true);
    run(10 * MS);
    expect(get()).toBe(0x1e);
    expect(rig.irq1.level).toBe(false);
    run(MS);
    expect(rig.irq1.level).toBe(true);
    expect(get()).toBe(0x30);
  });
  it("keeps interrupts down when the command byte disables them; the byte is there all the same", () => {
    controlByte(0x44);
    rig.keyboard.key("KeyA");
    run(MS);
    expect([rig.irq1.level, status() & 1]).toEqual([false, 1]);
    controlByte(0x45);
    expect(rig.irq1.level).toBe(true);
  });
  it("holds keys back while the keyboard interface is disabled", () => {
    command(0xad);
    rig.keyboard.key("KeyA");
    run(MS);
    expect(status() & 1).toBe(0);
    command(0xae);
    expect(drain()).toEqual([0x1e]);
  });
  it("turns the interface on when something is sent to the keyboard", () => {
    command(0xad);
    data(0xee);
    expect(drain()).toEqual([0xee]);
  });
});

describe("translation of scan codes (set 2 to set 1)", () => {
  it.each([
    ["KeyA", [0x1e], [0x9e]],
    ["Escape", [0x01], [0x81]],
    ["F7", [0x41], [0xc1]],
    ["F12", [0x58], [0xd8]],
    ["ArrowUp", [0xe0, 0x48], [0xe0, 0xc8]],
    ["PrintScreen", [0xe0, 0x2a, 0xe0, 0x37], [0xe0, 0xb7, 0xe0, 0xaa]],
    ["Pause", [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5], []],
  ] as const)("%s", (key, make1, break1) => {
    rig.keyboard.key(key);
    expect(drain()).toEqual([...make1]);
    rig.keyboard.key(key, false);
    expect(drain()).toEqual([...break1]);
  });
  it("gives raw set 2 codes without translation", () => {
    controlByte(0x05);
    rig.keyboard.key("KeyA");
    rig.keyboard.key("KeyA", false);
    rig.keyboard.key("F7");
    rig.keyboard.key("Enter");
    expect(drain()).toEqual([0x1c, 0xf0, 0x1c, 0x83, 0x5a]);
  });
  it("gives set 1 from the keyboard itself when selected", () => {
    controlByte(0x05);
    data(0xf0);
    expect(drain()).toEqual([0xfa]);
    data(0x01);
    expect(drain()).toEqual([0xfa]);
    rig.keyboard.key("Delete");
    rig.keyboard.key("Delete", false);
    expect(drain()).toEqual([0xe0, 0x53, 0xe0, 0xd3]);
  });
  it("takes a stream of set 1 codes from the host and gives every one back", () => {
    for (let code = 1; code < 0x80; code++) {
      // 0xFF is the keyboard's overrun code and 0xAA, 0xFA … are told apart by software only.
      rig.keyboard.key(code);
      expect(drain()).toEqual([code]);
      rig.keyboard.key(code | 0x80);
      expect(drain()).toEqual([code | 0x80]);
    }
    rig.keyboard.key(0xe04b);
    rig.keyboard.key(0xe0cb);
    expect(drain()).toEqual([0xe0, 0x4b, 0xe0, 0xcb]);
  });
  it("refuses a key that does not exist with one clear line", () => {
    expect(() => rig.keyboard.key("KeyÄ")).toThrow(/no key is called KeyÄ/);
    expect(() => rig.keyboard.key(0)).toThrow(/no key has scan code 0x0/);
  });
});

describe("keyboard commands", () => {
  beforeEach(() => controlByte(0x05));
  it.each([
    ["reset", [0xff], [0xfa, 0xaa]],
    ["identify", [0xf2], [0xfa, 0xab, 0x83]],
    ["echo", [0xee], [0xee]],
    ["enable", [0xf4], [0xfa]],
    ["defaults", [0xf6], [0xfa]],
    ["an unknown command", [0xef], [0xfe]],
  ] as const)("%s", (_name, bytes, answers) => {
    for (const byte of bytes) data(byte);
    expect(drain()).toEqual([...answers]);
  });
  it("acknowledges a command and its parameter; tells the LEDs", () => {
    data(0xed);
    expect(drain()).toEqual([0xfa]);
    data(0x05);
    expect(drain()).toEqual([0xfa]);
    expect(rig.told).toEqual(["leds 5"]);
    data(0xf3);
    expect(drain()).toEqual([0xfa]);
    data(0x20);
    expect(drain()).toEqual([0xfa]);
    expect(rig.keyboard.state.typematic).toBe(0x20);
  });
  it("answers its scan code set, refuses set 3", () => {
    data(0xf0);
    drain();
    data(0);
    expect(drain()).toEqual([0xfa, 2]);
    data(0xf0);
    drain();
    data(3);
    expect(drain()).toEqual([0xfe]);
  });
  it("repeats its last byte for resend", () => {
    rig.keyboard.key("KeyA");
    drain();
    data(0xfe);
    expect(drain()).toEqual([0x1c]);
  });
  it("sends no keys after F5 until F4", () => {
    data(0xf5);
    drain();
    rig.keyboard.key("KeyA");
    expect(drain()).toEqual([]);
    data(0xf4);
    drain();
    rig.keyboard.key("KeyA");
    expect(drain()).toEqual([0x1c]);
  });
  it("says overrun once when its buffer of 16 bytes is full", () => {
    for (let i = 0; i < 30; i++) rig.keyboard.key("KeyA");
    expect(drain()).toEqual([...Array.from({ length: 16 }, () => 0x1c), 0]);
  });
  it("identifies as AB 41 through the translation", () => {
    controlByte(0x45);
    data(0xf2);
    expect(drain()).toEqual([0xfa, 0xab, 0x41]);
  });
});

describe("mouse", () => {
  beforeEach(() => controlByte(0x47));
  const ask = (...bytes: number[]): number[] =>
    bytes.flatMap(byte => {
      toMouse(byte);
      return drain();
    });

  it("answers reset with AA 00 and identifies as 0", () => {
    expect(ask(0xff)).toEqual([0xfa, 0xaa, 0x00]);
    expect(ask(0xf2)).toEqual([0xfa, 0x00]);
  });
  it("raises IRQ 12 and marks its bytes in the status", () => {
    toMouse(0xf4);
    run(MS);
    expect([rig.irq12.level, rig.irq1.level, status() & 0x21]).toEqual([true, false, 0x21]);
    get();
    expect(rig.irq12.level).toBe(false);
  });
  it("reports movement and buttons in three bytes once enabled", () => {
    rig.mouse.mouse(3, 4, 0);
    expect(drain()).toEqual([]);
    ask(0xf6);
    expect(ask(0xf4)).toEqual([0xfa]);
    rig.mouse.mouse(5, -3, 1);
    expect(drain()).toEqual([0x08 | 0x20 | 0x01, 5, 0xfd]);
    rig.mouse.mouse(0, 0, 0);
    expect(drain()).toEqual([0x08, 0, 0]);
    rig.mouse.mouse(0, 0, 0);
    expect(drain()).toEqual([]);
  });
  it("splits a movement that one packet cannot hold", () => {
    ask(0xf4);
    rig.mouse.mouse(-300, 0, 0);
    expect(drain()).toEqual([0x18, 0x01, 0, 0x18, 0x100 - 45, 0]);
  });
  it("becomes a wheel mouse after sample rates 200, 100, 80", () => {
    ask(0xf3, 200, 0xf3, 100, 0xf3, 80);
    expect(ask(0xf2)).toEqual([0xfa, 3]);
    ask(0xf4);
    rig.mouse.mouse(0, 0, 0, -1);
    expect(drain()).toEqual([0x08, 0, 0, 0xff]);
  });
  it("becomes a five-button mouse after 200, 200, 80", () => {
    ask(0xf3, 200, 0xf3, 200, 0xf3, 80);
    expect(ask(0xf2)).toEqual([0xfa, 4]);
    ask(0xf4);
    rig.mouse.mouse(0, 0, 0x08, 1);
    expect(drain()).toEqual([0x08, 0, 0, 0x11]);
  });
  it("tells its settings (E9), and takes resolution, scaling and rate", () => {
    expect(ask(0xe9)).toEqual([0xfa, 0x00, 2, 100]);
    ask(0xe8, 3, 0xe7, 0xf3, 40, 0xf4);
    expect(ask(0xe9)).toEqual([0xfa, 0x30, 3, 40]);
    expect(ask(0xe8, 7)).toEqual([0xfa, 0xfe]);
  });
  it("scales 2:1 as the table says", () => {
    ask(0xe7, 0xf4);
    const xs = [1, 2, 3, 4, 5, 6].map(dx => {
      rig.mouse.mouse(dx, 0, 0);
      return drain()[1];
    });
    expect(xs).toEqual([1, 1, 3, 6, 9, 12]);
  });
  it("sends in remote mode only when asked (F0, EB)", () => {
    ask(0xf0, 0xf4);
    rig.mouse.mouse(7, 0, 0);
    expect(drain()).toEqual([]);
    expect(ask(0xeb)).toEqual([0xfa, 0x08, 7, 0]);
  });
  it("echoes in wrap mode until EC", () => {
    ask(0xee);
    expect(ask(0xf4, 0x12)).toEqual([0xf4, 0x12]);
    expect(ask(0xec)).toEqual([0xfa]);
    expect(ask(0xf4)).toEqual([0xfa]);
  });
});

describePart("PS/2 controller with keyboard and mouse", make);

describe("PS/2 fuzz", () => {
  it(
    "interrupts only for a byte that is there, and never on both lines",
    () => {
      fuzzPart(make, "ps2", { maxAdvance: 2_000_000 }, ({ controller, keyboard, mouse, irq1, irq12 }) => {
        const { full, auxiliary, ram, answers } = controller.state;
        expect(irq1.level).toBe(full && !auxiliary && (ram[0]! & 1) !== 0);
        expect(irq12.level).toBe(full && auxiliary && (ram[0]! & 2) !== 0);
        expect(answers.length).toBeLessThanOrEqual(32);
        expect(keyboard.waiting).toBeLessThanOrEqual(40);
        expect(mouse.waiting).toBeLessThanOrEqual(40);
      });
    },
    FUZZ_TIMEOUT,
  );
});
