/**
 * IRR, ISR and TMR of a local APIC: three sets of 256 vectors and the highest member of two of them. Intel SDM vol. 3A, "Interrupt Acceptance for Fixed
 * Interrupts". The highest members are derived and kept at hand, so that accepting, acknowledging and ending an interrupt look at few words.
 */
import type { Vector } from "../base/units.ts";

export type BankState = { irr: Uint32Array; isr: Uint32Array; tmr: Uint32Array };

/** Highest vector in `set` at or below `from`, −1 when there is none. */
function highest(set: Uint32Array, from: Vector): number {
  for (let word = from >> 5; word >= 0; word--) {
    const bits = set[word]!;
    if (bits !== 0) return word * 32 + 31 - Math.clz32(bits);
  }
  return -1;
}

export class LapicBank {
  readonly state: BankState = { irr: new Uint32Array(8), isr: new Uint32Array(8), tmr: new Uint32Array(8) };
  /** Highest vector requested and in service, −1 for none. */
  irrMax = -1;
  isrMax = -1;

  clear(): void {
    this.state.irr.fill(0);
    this.state.isr.fill(0);
    this.state.tmr.fill(0);
    this.irrMax = this.isrMax = -1;
  }

  /** Rebuilds what is derived. */
  restored(): void {
    this.irrMax = highest(this.state.irr, 255);
    this.isrMax = highest(this.state.isr, 255);
  }

  /** Sets the vector's IRR bit and makes its TMR bit tell the trigger. True when it was set already: the two become one. */
  request(vector: Vector, level: boolean): boolean {
    const { irr, tmr } = this.state;
    const word = vector >> 5;
    const bit = 1 << vector;
    if (level) tmr[word]! |= bit;
    else tmr[word]! &= ~bit;
    const coalesced = (irr[word]! & bit) !== 0;
    irr[word]! |= bit;
    if (vector > this.irrMax) this.irrMax = vector;
    return coalesced;
  }

  /** Moves the highest request into service. There must be one, of a class above all in service. */
  take(): Vector {
    const { irr, isr } = this.state;
    const vector = this.irrMax;
    irr[vector >> 5]! &= ~(1 << vector);
    isr[vector >> 5]! |= 1 << vector;
    this.irrMax = highest(irr, vector);
    this.isrMax = vector;
    return vector;
  }

  /** Ends the highest interrupt in service; returns its vector, −1 when there is none. */
  end(): number {
    const vector = this.isrMax;
    if (vector < 0) return -1;
    const { isr } = this.state;
    isr[vector >> 5]! &= ~(1 << vector);
    this.isrMax = highest(isr, vector);
    return vector;
  }

  isLevel(vector: Vector): boolean {
    return ((this.state.tmr[vector >> 5]! >>> (vector & 31)) & 1) !== 0;
  }
}
