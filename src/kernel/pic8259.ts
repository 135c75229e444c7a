/** Driver of the 8259A pair. Intel 8259A data sheet (231468); edge/level registers: Intel 82371SB (290550), 2.5.5. */
import type { Vector } from "../base/units.ts";
import { ELCR_MASK, ICW1, ICW4, OCW2, OCW2_COMMAND, OCW3, PIC_PORT } from "../intc/pic8259.regs.ts";
import { in8, out8, type Task } from "../ports/task.ts";

const CASCADE = 2;
const PER_CHIP = 8;
/** Inputs that give a spurious vector: the last of each chip. */
const SPURIOUS = [7, 15];

export class Pic8259Driver {
  /** Masks as they were written last. */
  readonly #masks = [0xff, 0xff];
  #base: Vector = 0;

  /** Vectors `base` to `base` + 15; everything masked but the cascade. */
  *initialise(base: Vector): Task {
    if (base % PER_CHIP !== 0 || base < 32 || base > 240) throw new RangeError(`8259 vectors from ${base}`);
    this.#base = base;
    const first = ICW1.ICW.mask | ICW1.IC4.mask;
    for (const [chip, port] of [PIC_PORT.master, PIC_PORT.slave].entries()) {
      yield* out8(port, first);
      yield* out8(port + 1, base + chip * PER_CHIP);
      yield* out8(port + 1, chip === 0 ? 1 << CASCADE : CASCADE);
      yield* out8(port + 1, ICW4.uPM.mask);
    }
    this.#masks[0] = 0xff & ~(1 << CASCADE);
    this.#masks[1] = 0xff;
    yield* this.#writeMasks();
  }

  /** Everything masked: the I/O APIC has the lines. */
  *disable(): Task {
    this.#masks.fill(0xff);
    yield* this.#writeMasks();
  }

  *unmask(irq: number): Task {
    this.#masks[irq >> 3]! &= ~(1 << (irq & 7));
    yield* this.#writeMasks();
  }

  *mask(irq: number): Task {
    this.#masks[irq >> 3]! |= 1 << (irq & 7);
    yield* this.#writeMasks();
  }

  /** Level-triggered where `level`. Throws RangeError for lines that are always edge-triggered. */
  *setLevel(irq: number, level: boolean): Task {
    const chip = irq >> 3;
    const bit = 1 << (irq & 7);
    if ((ELCR_MASK[chip]! & bit) === 0) throw new RangeError(`IRQ ${irq} is always edge-triggered`);
    const before = yield* in8(PIC_PORT.elcr + chip);
    yield* out8(PIC_PORT.elcr + chip, level ? before | bit : before & ~bit);
  }

  vectorOf(irq: number): Vector {
    return this.#base + irq;
  }

  /** The input of a vector, −1 when it is none of these. */
  irqOf(vector: Vector): number {
    const irq = vector - this.#base;
    return irq >= 0 && irq < 2 * PER_CHIP ? irq : -1;
  }

  /** IRQ 7 or 15 without its in-service bit: nobody asked. A spurious 15 was a real cascade for the master, which wants its EOI. */
  *isSpurious(irq: number): Task<boolean> {
    if (!SPURIOUS.includes(irq)) return false;
    const port = irq < PER_CHIP ? PIC_PORT.master : PIC_PORT.slave;
    yield* out8(port, OCW3.KIND.put(OCW3.RR.mask | OCW3.RIS.mask, 1));
    const spurious = ((yield* in8(port)) & 0x80) === 0;
    if (spurious && irq >= PER_CHIP) yield* this.#command(PIC_PORT.master, CASCADE);
    return spurious;
  }

  /** Specific EOI, to both chips when it came through the cascade. */
  *endOfInterrupt(irq: number): Task {
    if (irq >= PER_CHIP) yield* this.#command(PIC_PORT.slave, irq & 7);
    yield* this.#command(PIC_PORT.master, irq >= PER_CHIP ? CASCADE : irq);
  }

  *#command(port: number, input: number): Task {
    yield* out8(port, (OCW2_COMMAND.specificEoi << 5) | OCW2.L.put(0, input));
  }

  *#writeMasks(): Task {
    yield* out8(PIC_PORT.master + 1, this.#masks[0]!);
    yield* out8(PIC_PORT.slave + 1, this.#masks[1]!);
  }
}
