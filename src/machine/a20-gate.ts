/**
 * The A20 gate: address line 20 of the processors. Port 0x92 and the keyboard controller both drive it, and who wrote last decides, as on QEMU's PC (a
 * PIIX ORs the two, but then a guest could not close the gate by one of them alone, since firmware leaves both open).
 */
import type { Part, ResetPhase } from "../ports/part.ts";

export class A20Gate implements Part {
  readonly name = "a20-gate";
  readonly state = { open: true };
  readonly #apply: (open: boolean) => void;

  /** @param apply hears the gate's output */
  constructor(apply: (open: boolean) => void) {
    this.#apply = apply;
  }

  reset(phase: ResetPhase): void {
    if (phase === "enter") this.state.open = true;
    else if (phase === "hold") this.#apply(true);
  }

  restored(): void {
    this.#apply(this.state.open);
  }

  set(open: boolean): void {
    this.state.open = open;
    this.#apply(open);
  }
}
