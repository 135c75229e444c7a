/**
 * The PC's two 8259As: the slave's INT on the master's IR2, the edge/level registers at ports 0x4D0 and 0x4D1, sixteen inputs (2 is the cascade and not
 * connected), one output INTR. Documents: Intel 8259A data sheet (231468); Intel 82371SB (PIIX3, 290550), section 2.5.
 *
 * Inputs must stay high until acknowledged, see pic8259.ts: a device that only pulses its line gets a spurious interrupt.
 * If no chip recognises the cascade number (slave's ICW3), nobody drives the bus in the second INTA cycle and the processor reads 0xFF.
 */
import type { CauseId, Vector } from "../base/units.ts";
import type { IntAck } from "../ports/cpu-port.ts";
import { EVENT } from "../ports/events.ts";
import type { LineSink } from "../ports/line.ts";
import type { Part, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";
import type { Trace } from "../sim/trace.ts";
import { ELCR_MASK } from "./pic8259.regs.ts";
import { Pic8259, type Pic8259State } from "./pic8259.ts";

/** The master's input that the slave drives. */
const CASCADE = 2;

export type PicPairState = { master: Pic8259State; slave: Pic8259State; elcr: number[]; intr: boolean };

export class PicPair implements Part, LineSink, IntAck {
  readonly name = "pic";
  readonly master = new Pic8259();
  readonly slave = new Pic8259();
  readonly state: PicPairState = { master: this.master.state, slave: this.slave.state, elcr: [0, 0], intr: false };
  /** Ports 0x20–0x21, 0xA0–0xA1 and 0x4D0–0x4D1. */
  readonly masterWindow: Window = new PicWindow(this, "pic-master", this.master, 0);
  readonly slaveWindow: Window = new PicWindow(this, "pic-slave", this.slave, 8);
  readonly elcrWindow: Window = new ElcrWindow(this);

  lastSpurious = false;
  lastCause: CauseId = 0;

  readonly #trace: Trace | null;
  readonly #outputs: { sink: LineSink; pin: number }[] = [];
  /** Why each input was requested; observation only. */
  readonly #causes = new Float64Array(16);

  constructor(trace: Trace | null = null) {
    this.#trace = trace;
  }

  /** Connects INTR to an input: a local APIC's LINT0, an I/O APIC's pin. */
  connectIntr(sink: LineSink, pin: number): void {
    this.#outputs.push({ sink, pin });
    if (this.state.intr) sink.lineChanged(pin, true, 0);
  }

  reset(phase: ResetPhase): void {
    if (phase === "enter") {
      this.state.elcr[0] = this.state.elcr[1] = 0;
      this.master.reset();
      this.slave.reset();
      this.master.restoreInput(CASCADE, false);
      this.lastSpurious = false;
    } else if (phase === "hold") this.settle(0);
  }

  lineChanged(pin: number, level: boolean, cause: CauseId): void {
    if (pin === CASCADE) return;
    const chip = pin < 8 ? this.master : this.slave;
    if (chip.input(pin & 7, level)) {
      const id = this.#trace === null ? cause : this.#trace.emit(EVENT.picRequest, pin, 0, 0, 0, cause);
      this.#causes[pin] = id;
    }
    this.settle(this.#causes[pin]!);
  }

  lineRestored(pin: number, level: boolean): void {
    if (pin !== CASCADE) (pin < 8 ? this.master : this.slave).restoreInput(pin & 7, level);
  }

  /** Brings the slave's INT to the master and the master's INT out. */
  settle(cause: CauseId): void {
    this.#cascade();
    this.slave.settle();
    this.#cascade();
    this.master.settle();
    this.#drive(this.master.state.int, cause);
  }

  /** After an acknowledge or a poll: INT is seen low before what still waits raises it again. */
  taken(chip: Pic8259): void {
    if (chip === this.master) this.#drive(false, 0);
    this.settle(0);
  }

  #cascade(): void {
    const level = this.slave.state.int;
    if (level !== ((this.master.state.lines & (1 << CASCADE)) !== 0)) this.master.input(CASCADE, level);
  }

  #drive(level: boolean, cause: CauseId): void {
    if (level === this.state.intr) return;
    this.state.intr = level;
    for (let i = 0; i < this.#outputs.length; i++) {
      const output = this.#outputs[i]!;
      output.sink.lineChanged(output.pin, level, cause);
    }
  }

  acknowledge(): Vector {
    const { master, slave } = this;
    let vector = master.acknowledge();
    let irq = master.lastLevel;
    this.lastSpurious = irq < 0;
    if (irq === CASCADE && master.isCascade(CASCADE)) {
      if ((slave.state.icw3 & 7) === CASCADE) {
        vector = slave.acknowledge();
        irq = 8 + (slave.lastLevel < 0 ? 7 : slave.lastLevel);
        this.lastSpurious = slave.lastLevel < 0;
      } else vector = 0xff;
    } else if (irq >= 0 && master.isCascade(irq)) vector = 0xff;
    if (irq < 0) irq = 7;
    this.lastCause = this.lastSpurious ? 0 : this.#causes[irq]!;
    if (this.#trace !== null) {
      this.lastCause = this.#trace.emit(EVENT.picAck, irq, vector, this.lastSpurious ? 1 : 0, 0, this.lastCause);
    }
    this.taken(master);
    return vector;
  }

  /** Used by the windows. */
  access(chip: Pic8259, firstIrq: number): void {
    if (this.#trace !== null && chip.lastEoi !== 0) {
      const irq = firstIrq + 31 - Math.clz32(chip.lastEoi);
      this.#trace.emit(EVENT.picEoi, irq, 0, 0, 0, this.#causes[irq]!);
    }
    this.settle(0);
  }
}

/** Two ports of one chip. */
class PicWindow implements Window {
  readonly name: string;
  readonly size = 2;
  readonly minWidth = 1;
  readonly maxWidth = 1;
  readonly #pair: PicPair;
  readonly #chip: Pic8259;
  readonly #firstIrq: number;

  constructor(pair: PicPair, name: string, chip: Pic8259, firstIrq: number) {
    this.#pair = pair;
    this.name = name;
    this.#chip = chip;
    this.#firstIrq = firstIrq;
  }

  read(offset: number): number {
    const poll = this.#chip.state.poll;
    const value = this.#chip.read(offset);
    if (poll) this.#pair.taken(this.#chip);
    return value;
  }

  write(offset: number, _width: number, value: number): void {
    this.#chip.write(offset, value);
    this.#pair.access(this.#chip, this.#firstIrq);
  }

  describe(offset: number): string {
    return offset === 0 ? "ICW1/OCW2/OCW3" : "ICW2-4/OCW1";
  }
}

/** The edge/level control registers: bit n of port i set makes IRQ 8i + n level-triggered. */
class ElcrWindow implements Window {
  readonly name = "pic-elcr";
  readonly size = 2;
  readonly minWidth = 1;
  readonly maxWidth = 1;
  readonly #pair: PicPair;

  constructor(pair: PicPair) {
    this.#pair = pair;
  }

  read(offset: number): number {
    return this.#pair.state.elcr[offset]!;
  }

  write(offset: number, _width: number, value: number): void {
    const mask = value & ELCR_MASK[offset]!;
    this.#pair.state.elcr[offset] = mask;
    (offset === 0 ? this.#pair.master : this.#pair.slave).setElcr(mask);
    this.#pair.settle(0);
  }

  describe(offset: number): string {
    return `ELCR${offset + 1}`;
  }
}
