/**
 * The ISA bridge, function 00:1f.0: the LPC interface bridge of Intel's ICH9 (data sheet 316972, chapter 13), with the registers that route PIRQ A to H to
 * ISA interrupts for a system that works with the 8259 pair.
 *
 * Decisions: PMBASE and ACPI_CNTL say what the board has and cannot be changed. An ISA interrupt that a PIRQ is routed to is the whole line, so that the
 * I/O APIC's input of that number hears it, too, as with a PIIX. Not modelled: LPC decode ranges, serial interrupts, RCBA, GPIO, TCO.
 */
import type { CauseId } from "../base/units.ts";
import type { LinePin, LineSink } from "../ports/line.ts";
import type { ResetPhase } from "../ports/part.ts";
import {
  INTEL,
  ISA_BRIDGE_ID,
  LPC,
  LPC_ACPI_CONTROL,
  PIRQ_COUNT,
  PIRQ_IRQS,
  PIRQ_REGISTERS,
  PIRQ_RESET,
  PIRQ_ROUTE,
} from "./chipset.regs.ts";
import { PciFunction, type PciSlot } from "./function.ts";

const CLASS_BRIDGE_ISA = 0x060100;
const SERIAL_IRQ_RESET = 0x10;

export type IsaBridgeOptions = {
  /** First port of the ACPI block. */
  readonly pmBase: number;
  /** A driver of an ISA interrupt line. */
  readonly isaPin: (irq: number) => LinePin;
};

export class IsaBridge extends PciFunction<{ pirqs: number }> implements LineSink {
  /** By place in {@link PIRQ_IRQS}. */
  readonly #isaPins: readonly LinePin[];

  constructor(slot: PciSlot, options: IsaBridgeOptions) {
    const identity = { vendor: INTEL, device: ISA_BRIDGE_ID, revision: 2, classCode: CLASS_BRIDGE_ISA };
    super(slot, identity, { pirqs: 0 });
    const { space } = this;
    this.#isaPins = PIRQ_IRQS.map(irq => options.isaPin(irq));
    space.define({ name: "PMBASE", offset: LPC.pmBase, size: 4, value: options.pmBase | 1 });
    space.define({ name: "ACPI_CNTL", offset: LPC.acpiControl, size: 1, value: LPC_ACPI_CONTROL.enable.mask });
    space.define({ name: "SIRQ_CNTL", offset: LPC.serialIrq, size: 1, value: SERIAL_IRQ_RESET, writable: 0xff });
    const writable = PIRQ_ROUTE.irq.mask | PIRQ_ROUTE.disable.mask;
    PIRQ_REGISTERS.forEach((offset, i) => {
      space.define({ name: `PIRQ${"ABCDEFGH"[i]}_ROUT`, offset, size: 1, value: PIRQ_RESET, writable });
    });
  }

  /** PIRQ `pin` (0 for A) has changed. */
  lineChanged(pin: number, level: boolean, cause: CauseId): void {
    this.lineRestored(pin, level);
    this.#route(cause);
  }

  lineRestored(pin: number, level: boolean): void {
    const { device } = this.state;
    device.pirqs = level ? device.pirqs | (1 << pin) : device.pirqs & ~(1 << pin);
  }

  override reset(phase: ResetPhase): void {
    super.reset(phase);
    if (phase === "hold") this.#route(0);
  }

  /** The levels of the PIRQs belong to the wires. */
  protected override resetDevice(): void {}

  protected override configWritten(): void {
    this.#route(0);
  }

  /** An ISA interrupt is asserted while one of the PIRQs that are routed to it is. */
  #route(cause: CauseId): void {
    let asserted = 0;
    for (let i = 0; i < PIRQ_COUNT; i++) {
      const route = this.space.read(PIRQ_REGISTERS[i]!, 1);
      const on = ((this.state.device.pirqs >> i) & 1) !== 0 && !PIRQ_ROUTE.disable.on(route);
      if (on) asserted |= 1 << PIRQ_ROUTE.irq.of(route);
    }
    for (let i = 0; i < PIRQ_IRQS.length; i++) this.#isaPins[i]!.set(((asserted >> PIRQ_IRQS[i]!) & 1) !== 0, cause);
  }
}
