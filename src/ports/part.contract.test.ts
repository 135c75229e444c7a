/** The suite must accept a right part and notice each kind of wrong one. */
import { describe, expect, test } from "vitest";
import { Clock } from "../sim/clock.ts";
import { type Alarm, EventQueue } from "../sim/event-queue.ts";
import { Line, type LinePin, type LineSink } from "./line.ts";
import { checkAccesses, checkReset, checkSaveLoad, describePart, type PartFixture } from "./part.contract.ts";
import type { Part, ResetPhase } from "./part.ts";
import type { Window } from "./window.ts";

type Fault = "none" | "reset" | "hidden" | "edgeOnLoad" | "enter" | "signed" | "throws";

/** A counter with a compare register: enough to have a window, an alarm, an input and an output. */
class Toy implements Part, LineSink, Window {
  readonly name = "toy";
  readonly size = 16;
  readonly minWidth = 1;
  readonly maxWidth = 4;
  readonly state = { value: 0, due: 0, input: false };
  readonly #fault: Fault;
  readonly #alarm: Alarm;
  readonly #out: LinePin;
  #hidden = 0;

  constructor(fault: Fault, queue: EventQueue, out: LinePin) {
    this.#fault = fault;
    this.#out = out;
    this.#alarm = queue.alarm("toy", () => {
      this.state.due++;
      this.#out.set((this.state.due & 1) === 1);
    });
  }
  reset(phase: ResetPhase): void {
    if (phase === "enter") {
      this.state.value = this.#fault === "reset" ? this.state.value : 0;
      this.state.due = 0;
      this.#alarm.cancel();
      if (this.#fault === "enter") this.#out.pulse();
    } else if (phase === "hold") this.#out.deassert();
  }
  restored(): void {
    if (this.#fault === "edgeOnLoad") this.#out.pulse();
  }
  lineChanged(_pin: number, level: boolean): void {
    this.state.input = level;
  }
  lineRestored(_pin: number, level: boolean): void {
    this.state.input = level;
  }
  read(offset: number, width: number): number {
    if (this.#fault === "throws" && offset === 12) throw new Error("no register there");
    if (this.#fault === "signed" && width === 4) return ~this.state.value;
    if (this.#fault === "hidden") return this.#hidden & 0xff;
    return (this.state.value + (this.state.input ? 1 : 0)) & 0xff;
  }
  write(_offset: number, _width: number, value: number): void {
    this.state.value = value & 0xff;
    this.#hidden = value & 0xff;
    this.#alarm.armIn(value & 0xfff);
  }
}

const maker = (fault: Fault) => (): PartFixture => {
  const queue = new EventQueue(new Clock());
  const [input, output] = [new Line("in"), new Line("out")];
  const part = new Toy(fault, queue, output.pin());
  input.connect(part, 0);
  return { part, windows: [part], queue, inputs: [input], outputs: [output] };
};

describePart("a right part", maker("none"));

describe("the contract suite notices", () => {
  test("a register that a reset forgets", () => expect(() => checkReset(maker("reset"))).toThrow(/history/));
  test("an edge in the first phase of a reset", () => expect(() => checkReset(maker("enter"))).toThrow(/enter/));
  test("state outside the record", () => expect(() => checkSaveLoad(maker("hidden"))).toThrow(/reads/));
  test("an edge made by a load", () => expect(() => checkSaveLoad(maker("edgeOnLoad"))).toThrow(/outside/));
  test("a signed read", () => expect(() => checkAccesses(maker("signed"))).toThrow(/out of range/));
  test("an access that throws", () => expect(() => checkAccesses(maker("throws"))).toThrow(/no register/));
});
