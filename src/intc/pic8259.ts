/**
 * One 8259A programmable interrupt controller. Document: Intel 8259A data sheet (231468).
 *
 * Decisions where the sheet leaves room:
 * - An input must stay high until it is acknowledged ("the IR inputs must remain high until after the falling edge of the first INTA. If the IR input
 *   goes low before this time a DEFAULT IR7 will occur when the CPU acknowledges the interrupt", Edge and Level Triggered Modes). So a falling input
 *   clears its IRR bit in both modes, and INT, if this was its only reason, stays up until it is acknowledged (with level 7 and no ISR bit) or polled.
 *   Masking the request instead takes INT down.
 * - Before its first ICW1–ICW2(–ICW4) sequence the chip does not drive INT.
 * - In 8080 mode (ICW4 bit 0 clear, or no ICW4) the chip answers three INTA pulses with a CALL instruction. An x86 processor makes two and takes the
 *   second byte, the low address byte, as the vector; so that is what {@link Pic8259.acknowledge} gives. The third pulse is not waited for.
 *
 * Not modelled: buffered mode's SP/EN output (its bits are kept), the bus timing.
 */
import { lowestBit } from "../base/int.ts";
import type { Vector } from "../base/units.ts";
import { ICW1, ICW4, OCW2, OCW2_COMMAND, OCW3 } from "./pic8259.regs.ts";

/** Which word a write to A0 = 1 is. */
const EXPECTS = { ocw1: 0, icw2: 2, icw3: 3, icw4: 4 } as const;

export type Pic8259State = {
  /** Input levels, a bit each. */
  lines: number;
  irr: number;
  isr: number;
  imr: number;
  /** Level-triggered inputs by the board's edge/level register. */
  elcr: number;
  icw1: number;
  icw2: number;
  icw3: number;
  icw4: number;
  /** 0: operating; 2, 3, 4: waits for that initialization word. */
  expects: number;
  initialised: boolean;
  /** The level with the lowest priority, 7 by default. */
  lowest: number;
  rotateInAeoi: boolean;
  specialMask: boolean;
  /** The next read is a poll. */
  poll: boolean;
  /** Reads of A0 = 0 give ISR, not IRR. */
  readIsr: boolean;
  /** Levels that INT was up for and that went away unacknowledged. */
  withdrawn: number;
  /** Output INT. */
  int: boolean;
};

const resetState = (): Pic8259State => ({
  lines: 0,
  irr: 0,
  isr: 0,
  imr: 0,
  elcr: 0,
  icw1: 0,
  icw2: 0,
  icw3: 0,
  icw4: 0,
  expects: EXPECTS.ocw1,
  initialised: false,
  lowest: 7,
  rotateInAeoi: false,
  specialMask: false,
  poll: false,
  readIsr: false,
  withdrawn: 0,
  int: false,
});

/** One chip. Its board ({@link PicPair}) reads `state.int` after each call. */
export class Pic8259 {
  readonly state: Pic8259State = resetState();
  /** Level that the last acknowledge or poll took, −1 when it was the default level 7. */
  lastLevel = -1;
  /** Levels whose ISR bits the last write cleared (EOI commands), for the trace. */
  lastEoi = 0;

  /** Power on. The inputs keep their levels, which belong to the wires. */
  reset(): void {
    const { lines } = this.state;
    Object.assign(this.state, resetState());
    this.state.lines = lines;
    this.lastLevel = -1;
  }

  /** Input `level` goes up or down. True when this made a new request. */
  input(level: number, high: boolean): boolean {
    const s = this.state;
    const bit = 1 << level;
    const before = s.irr;
    if (high) {
      // Both modes set the request on the way up; a level input that is already up is found by #latchLevels.
      if ((s.lines & bit) === 0) s.irr |= bit;
      s.lines |= bit;
    } else {
      const requested = this.#candidate() >= 0;
      s.lines &= ~bit;
      s.irr &= ~bit;
      if (requested && s.int && this.#candidate() < 0) s.withdrawn |= bit;
    }
    this.#sync();
    return (s.irr & ~before) !== 0;
  }

  /** After a load: the level without an edge. */
  restoreInput(level: number, high: boolean): void {
    if (high) this.state.lines |= 1 << level;
    else this.state.lines &= ~(1 << level);
  }

  /** The board's edge/level register changed. */
  setElcr(mask: number): void {
    this.state.elcr = mask;
    this.#latchLevels();
    this.#sync();
  }

  /** True when input `level` has a slave behind it (master's ICW3). */
  isCascade(level: number): boolean {
    return !ICW1.SNGL.on(this.state.icw1) && ((this.state.icw3 >>> level) & 1) !== 0;
  }

  /** The two INTA pulses: takes the highest request, or level 7 by default, and returns the vector. */
  acknowledge(): Vector {
    const level = this.#take();
    return this.#vector(level < 0 ? 7 : level);
  }

  read(a0: number): number {
    const s = this.state;
    if (s.poll) {
      s.poll = false;
      const level = this.#take();
      return level < 0 ? 0 : 0x80 | level;
    }
    if (a0 !== 0) return s.imr;
    return s.readIsr ? s.isr : s.irr;
  }

  write(a0: number, value: number): void {
    this.lastEoi = 0;
    if (a0 === 0) {
      if (ICW1.ICW.on(value)) this.#initialise(value);
      else if (OCW2.KIND.of(value) === 0) this.#command(value);
      else this.#writeOcw3(value);
    } else this.#writeData(value);
    this.#sync();
  }

  /** Data sheet, "Initialization Command Words (ICWS)", a to f. */
  #initialise(value: number): void {
    const s = this.state;
    s.icw1 = value;
    s.icw4 = 0;
    s.icw3 = 0;
    s.irr = 0;
    s.isr = 0;
    s.imr = 0;
    s.lowest = 7;
    s.rotateInAeoi = false;
    s.specialMask = false;
    s.readIsr = false;
    s.poll = false;
    s.withdrawn = 0;
    s.initialised = false;
    s.expects = EXPECTS.icw2;
    this.#latchLevels();
  }

  #writeData(value: number): void {
    const s = this.state;
    switch (s.expects) {
      case EXPECTS.icw2:
        s.icw2 = value;
        s.expects = ICW1.SNGL.on(s.icw1) ? this.#afterIcw3() : EXPECTS.icw3;
        break;
      case EXPECTS.icw3:
        s.icw3 = value;
        s.expects = this.#afterIcw3();
        break;
      case EXPECTS.icw4:
        s.icw4 = value & 0x1f;
        s.expects = EXPECTS.ocw1;
        break;
      default:
        s.imr = value;
        return;
    }
    if (s.expects === EXPECTS.ocw1) s.initialised = true;
  }

  #afterIcw3(): number {
    return ICW1.IC4.on(this.state.icw1) ? EXPECTS.icw4 : EXPECTS.ocw1;
  }

  /** OCW2: end of interrupt and rotation. */
  #command(value: number): void {
    const s = this.state;
    const level = OCW2.L.of(value);
    switch (value >>> 5) {
      case OCW2_COMMAND.clearRotateInAeoi:
        s.rotateInAeoi = false;
        break;
      case OCW2_COMMAND.setRotateInAeoi:
        s.rotateInAeoi = true;
        break;
      case OCW2_COMMAND.nonSpecificEoi:
        this.#endOfInterrupt(this.#highestInService(), false);
        break;
      case OCW2_COMMAND.rotateOnNonSpecificEoi:
        this.#endOfInterrupt(this.#highestInService(), true);
        break;
      case OCW2_COMMAND.specificEoi:
        this.#endOfInterrupt(level, false);
        break;
      case OCW2_COMMAND.rotateOnSpecificEoi:
        this.#endOfInterrupt(level, true);
        break;
      case OCW2_COMMAND.setPriority:
        s.lowest = level;
        break;
      default: // no operation
    }
  }

  #endOfInterrupt(level: number, rotate: boolean): void {
    if (level < 0) return;
    const s = this.state;
    this.lastEoi = s.isr & (1 << level);
    s.isr &= ~(1 << level);
    if (rotate) s.lowest = level;
  }

  #writeOcw3(value: number): void {
    const s = this.state;
    if (OCW3.ESMM.on(value)) s.specialMask = OCW3.SMM.on(value);
    // "If both P and RR are set, P overrides": the read that follows is the poll; the selection is kept for later reads.
    if (OCW3.RR.on(value)) s.readIsr = OCW3.RIS.on(value);
    s.poll = OCW3.P.on(value);
  }

  /** Priority of the first of `bits`, 0 (highest) to 7; 8 when there is none. */
  #firstPriority(bits: number): number {
    if (bits === 0) return 8;
    // Rotate right so that the level with the highest priority, the one after `lowest`, comes to bit 0.
    const turn = (this.state.lowest + 1) & 7;
    return lowestBit(((bits >>> turn) | (bits << (8 - turn))) & 0xff);
  }

  #levelOf(priority: number): number {
    return (this.state.lowest + 1 + priority) & 7;
  }

  /** For the non-specific EOI: in special mask mode a masked level is left alone ("Special Mask Mode"; "End of Interrupt"). */
  #highestInService(): number {
    const s = this.state;
    const priority = this.#firstPriority(s.specialMask ? s.isr & ~s.imr : s.isr);
    return priority === 8 ? -1 : this.#levelOf(priority);
  }

  /** The level that an acknowledge would take, −1 for none. */
  #candidate(): number {
    const s = this.state;
    const requests = s.irr & ~s.imr;
    if (requests === 0 || !s.initialised) return -1;
    const priority = this.#firstPriority(requests);
    const level = this.#levelOf(priority);
    const serviced = this.#firstPriority(s.specialMask ? s.isr & ~s.imr : s.isr);
    if (priority < serviced) return level;
    // Special fully nested: a slave may interrupt its own service routine.
    return priority === serviced && ICW4.SFNM.on(s.icw4) && this.isCascade(level) ? level : -1;
  }

  /** Acknowledge or poll: moves the candidate from IRR to ISR. INT goes down, so that what follows is a new edge. */
  #take(): number {
    const s = this.state;
    const level = this.#candidate();
    this.lastLevel = level;
    s.withdrawn = 0;
    s.int = false;
    if (level >= 0) {
      const bit = 1 << level;
      if ((this.#levelTriggered() & bit) === 0) s.irr &= ~bit;
      if (ICW4.AEOI.on(s.icw4)) {
        if (s.rotateInAeoi) s.lowest = level;
      } else s.isr |= bit;
    }
    return level;
  }

  #vector(level: number): Vector {
    const s = this.state;
    if (ICW4.uPM.on(s.icw4)) return (s.icw2 & 0xf8) | level;
    return ICW1.ADI.on(s.icw1) ? (s.icw1 & 0xe0) | (level << 2) : (s.icw1 & 0xc0) | (level << 3);
  }

  #levelTriggered(): number {
    return ICW1.LTIM.on(this.state.icw1) ? 0xff : this.state.elcr;
  }

  /** A level-triggered input requests while it is high. */
  #latchLevels(): void {
    this.state.irr |= this.state.lines & this.#levelTriggered();
  }

  /** Raises INT again after an acknowledge or poll, whose low phase the board has then seen. */
  settle(): void {
    this.#sync();
  }

  #sync(): void {
    const s = this.state;
    s.int = s.initialised && ((s.withdrawn & ~s.imr) !== 0 || this.#candidate() >= 0);
  }
}
