/**
 * The board's interrupt lines, as data: the ISA interrupts 0 … 15 and the further I/O APIC inputs 16 … 23. The timer's line is input 0 of the 8259 and
 * input 2 of the I/O APIC, as on every PC (ACPI 6.5, 5.2.12.5 "Interrupt Source Override"); input 0 of the I/O APIC hears the 8259's INTR.
 */
export type IrqLine = {
  readonly name: string;
  /** Number of the line: ISA interrupt, or I/O APIC input from 16 on. */
  readonly irq: number;
  /** Input of the 8259 pair, −1 when not connected. */
  readonly pic: number;
  /** Input of the I/O APIC. */
  readonly ioapic: number;
};

export const IRQ = {
  timer: 0,
  keyboard: 1,
  cascade: 2,
  serial1: 4,
  sound: 5,
  floppy: 6,
  rtc: 8,
  acpi: 9,
  mouse: 12,
  coprocessor: 13,
  disk1: 14,
  disk2: 15,
} as const;

const NAMES: { readonly [irq: number]: string } = {
  [IRQ.timer]: "timer",
  [IRQ.keyboard]: "keyboard",
  [IRQ.serial1]: "serial",
  [IRQ.sound]: "sound",
  [IRQ.floppy]: "floppy",
  [IRQ.rtc]: "RTC",
  [IRQ.acpi]: "ACPI",
  [IRQ.mouse]: "mouse",
  [IRQ.coprocessor]: "FERR",
  [IRQ.disk1]: "disk 1",
  [IRQ.disk2]: "disk 2",
};
const PICS_INPUTS = 16;
const IOAPIC_INPUTS = 24;
/** I/O APIC input that the timer's line goes to. */
export const TIMER_PIN = 2;
/** I/O APIC input that hears the 8259 pair. */
export const EXTINT_PIN = 0;

/** By line number; the cascade is no line of the board. */
export const IRQ_LINES: readonly IrqLine[] = Array.from({ length: IOAPIC_INPUTS }, (_, irq) => irq)
  .filter(irq => irq !== IRQ.cascade)
  .map(irq => ({
    name: NAMES[irq] ?? (irq < PICS_INPUTS ? `ISA ${irq}` : `PCI ${irq}`),
    irq,
    pic: irq < PICS_INPUTS ? irq : -1,
    ioapic: irq === IRQ.timer ? TIMER_PIN : irq,
  }));

/** What drives an I/O APIC input. */
export function nameOfPin(pin: number): string {
  if (pin === EXTINT_PIN) return "8259";
  return IRQ_LINES.find(line => line.ioapic === pin)?.name ?? `pin ${pin}`;
}

/** What a line is called. */
export function nameOfIrq(irq: number): string {
  return NAMES[irq] ?? (irq < PICS_INPUTS ? `ISA ${irq}` : `PCI ${irq}`);
}
