/**
 * The gate between the platform's NMI sources and LINT1 of the processors. Documents: Intel 82371SB (PIIX3, 290550), sections 2.5.1 "NMISC" (port 0x61)
 * and 2.5.2 "NMI enable" (port 0x70 bit 7); Intel SDM vol. 3A, "Nonmaskable Interrupt (NMI)".
 *
 * The sources are wired-OR: a second one that asserts while the first holds makes no edge. Software that has served one toggles the mask, and a source
 * that still asserts then makes a new edge. A source that came and went while the gate was masked is remembered, once.
 *
 * The port registers belong to other parts; they call {@link NmiGate.setMasked}. Decision: reset leaves the gate open, as firmware leaves it, since a
 * guest may be started without firmware.
 */
import type { CauseId } from "../base/units.ts";
import type { LineSink } from "../ports/line.ts";
import type { Part, ResetPhase } from "../ports/part.ts";

export type NmiGateState = {
  /** Levels of the sources, a bit each. */
  sources: number;
  masked: boolean;
  /** A source rose while the gate was masked. */
  pending: boolean;
  /** Output level. */
  output: boolean;
};

export class NmiGate implements Part, LineSink {
  readonly name = "nmi-gate";
  readonly state: NmiGateState = { sources: 0, masked: false, pending: false, output: false };
  readonly #outputs: { sink: LineSink; pin: number }[] = [];
  /** Why the pending source rose; observation only. */
  #cause: CauseId = 0;

  /** Connects the output: pin 1 (LINT1) of each local APIC. */
  connect(sink: LineSink, pin: number): void {
    this.#outputs.push({ sink, pin });
    if (this.state.output) sink.lineChanged(pin, true, 0);
  }

  reset(phase: ResetPhase): void {
    if (phase === "enter") {
      this.state.masked = false;
      this.state.pending = false;
    } else if (phase === "hold") this.#drive(this.state.sources !== 0, 0);
  }

  /** Source `pin` (0 … 31). */
  lineChanged(pin: number, level: boolean, cause: CauseId): void {
    const s = this.state;
    if (!level) s.sources &= ~(1 << pin);
    else {
      s.sources |= 1 << pin;
      this.#cause = cause;
      if (s.masked) s.pending = true;
    }
    if (!s.masked) this.#drive(s.sources !== 0, cause);
  }

  lineRestored(pin: number, level: boolean): void {
    if (level) this.state.sources |= 1 << pin;
    else this.state.sources &= ~(1 << pin);
  }

  /** Port 0x70 bit 7: 1 disables NMI. */
  setMasked(masked: boolean): void {
    const s = this.state;
    if (masked === s.masked) return;
    s.masked = masked;
    if (masked) {
      this.#drive(false, 0);
      return;
    }
    const pulse = s.pending || s.sources !== 0;
    s.pending = false;
    if (pulse) this.#drive(true, this.#cause);
    this.#drive(s.sources !== 0, this.#cause);
  }

  #drive(level: boolean, cause: CauseId): void {
    if (level === this.state.output) return;
    this.state.output = level;
    for (const { sink, pin } of this.#outputs) sink.lineChanged(pin, level, cause);
  }
}
