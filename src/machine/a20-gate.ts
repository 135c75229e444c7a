/**
 * The A20 gate: address line 20 of the processors is free while port 0x92 or the keyboard controller lets it (their outputs are ORed on the board).
 */
import type { Part, ResetPhase } from "../ports/part.ts";

export class A20Gate implements Part {
  readonly name = "a20-gate";
  readonly state = { fast: true, keyboard: true };
  readonly #apply: (open: boolean) => void;

  /** @param apply hears the gate's output */
  constructor(apply: (open: boolean) => void) {
    this.#apply = apply;
  }

  reset(phase: ResetPhase): void {
    if (phase !== "enter") return;
    this.state.fast = this.state.keyboard = true;
    this.restored();
  }

  restored(): void {
    this.#apply(this.state.fast || this.state.keyboard);
  }

  setFast(open: boolean): void {
    this.state.fast = open;
    this.restored();
  }

  setKeyboard(open: boolean): void {
    this.state.keyboard = open;
    this.restored();
  }
}
