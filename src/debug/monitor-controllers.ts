/**
 * Interrupt controllers as text, for `monitor lapic`, `ioapic` and `pic`. Fields are found and named by the register layouts; nothing is changed by looking.
 */
import type { Field, LayoutInfo } from "../base/layout.ts";
import { IOAPIC_PINS, RTE } from "../intc/ioapic.regs.ts";
import { APIC_BASE, ESR, ICR, LAPIC_REG, LVT_ENTRY, SVR, VERSION } from "../intc/lapic.regs.ts";
import { nameOfIrq, nameOfPin } from "../machine/irq-map.ts";
import type { Pc } from "../machine/pc.ts";
import { DELIVERY_NAMES } from "../ports/message.ts";

/** Fields whose values have names; an empty one is left out. */
const VALUE_NAMES: { readonly [field: string]: readonly string[] } = {
  deliveryMode: DELIVERY_NAMES,
  destinationMode: ["physical", "logical"],
  trigger: ["edge", "level"],
  polarity: ["active-high", "active-low"],
  deliveryStatus: ["", "pending"],
  remoteIrr: ["", "remote-IRR"],
  mask: ["", "masked"],
  timerMode: ["one-shot", "periodic", "TSC-deadline", "reserved"],
  shorthand: ["", "self", "all", "others"],
};

const hex = (value: number, digits = 2): string => `0x${value.toString(16).padStart(digits, "0")}`;
const words8 = Array.from({ length: 8 }, (_, i) => i);

/** A register as words: named values by their names, flags that are set by theirs, numbers in hexadecimal. */
export function registerText(info: LayoutInfo, words: readonly number[], left: readonly string[] = []): string {
  const text = (field: Field): string => {
    const value = field.of(words[field.word] ?? 0);
    const names = VALUE_NAMES[field.name];
    if (names !== undefined) return names[value] ?? `${field.name}=${value}`;
    if (field.max === 1) return value === 0 ? "" : field.name;
    return `${field.name}=${hex(value)}`;
  };
  return info.fields
    .filter(({ name }) => !left.includes(name))
    .map(text)
    .filter(part => part !== "")
    .join(" ");
}

/** Vectors whose bits are set in eight words. */
function vectors(words: readonly number[]): string {
  const set: string[] = [];
  for (let vector = 0; vector < 256; vector++)
    if (((words[vector >> 5]! >>> (vector & 31)) & 1) !== 0) set.push(hex(vector));
  return set.length === 0 ? "none" : set.join(" ");
}

const LVT_LINES: readonly (readonly [string, number])[] = [
  ["LVT timer", LAPIC_REG.LVT_TIMER],
  ["LVT LINT0", LAPIC_REG.LVT_LINT0],
  ["LVT LINT1", LAPIC_REG.LVT_LINT1],
  ["LVT error", LAPIC_REG.LVT_ERROR],
  ["LVT perf", LAPIC_REG.LVT_PERF],
  ["LVT thermal", LAPIC_REG.LVT_THERMAL],
  ["LVT CMCI", LAPIC_REG.LVT_CMCI],
];
/** Fields that an entry of the local vector table does not have. */
const LVT_WITHOUT: { readonly [name: string]: readonly string[] } = {
  "LVT timer": ["deliveryMode", "polarity", "remoteIrr", "trigger"],
  "LVT LINT0": ["timerMode"],
  "LVT LINT1": ["timerMode"],
};
const LVT_OTHERS = ["polarity", "remoteIrr", "trigger", "timerMode"];

export function lapicText(pc: Pc, index: number): string[] {
  const lapic = pc.lapics[index]!;
  const { state } = lapic;
  // All registers read here exist, and reading them changes nothing.
  const read = (reg: number): number => lapic.read(reg * 16, 4);
  const array = (reg: number): string => vectors(words8.map(i => read(reg + i)));
  const line = (name: string, text: string): string => `${name.padEnd(16)}${text}`;
  const mode = !lapic.globallyEnabled ? "off" : lapic.x2apic ? "x2APIC" : "xAPIC";
  return [
    `local APIC ${index}: ${mode}, id ${hex(lapic.x2apic ? read(LAPIC_REG.ID) : read(LAPIC_REG.ID) >>> 24)}`,
    line("IA32_APIC_BASE", registerText(APIC_BASE.$, [state.baseLow, state.baseHigh])),
    line("version", registerText(VERSION.$, [read(LAPIC_REG.VERSION)])),
    line("SVR", registerText(SVR.$, [read(LAPIC_REG.SVR)])),
    line("TPR", hex(read(LAPIC_REG.TPR))),
    line("PPR", hex(read(LAPIC_REG.PPR))),
    line("LDR", `${hex(read(LAPIC_REG.LDR), 8)}  DFR ${hex(read(LAPIC_REG.DFR), 8)}`),
    line("IRR", array(LAPIC_REG.IRR)),
    line("ISR", array(LAPIC_REG.ISR)),
    line("TMR", array(LAPIC_REG.TMR)),
    line("ESR", registerText(ESR.$, [read(LAPIC_REG.ESR)]) || "none"),
    line("ICR", registerText(ICR.$, [read(LAPIC_REG.ICR), read(LAPIC_REG.ICR_HIGH)])),
    ...LVT_LINES.map(([name, reg]) =>
      line(name, registerText(LVT_ENTRY.$, [read(reg)], LVT_WITHOUT[name] ?? LVT_OTHERS)),
    ),
    line("timer", `initial ${read(LAPIC_REG.INITIAL_COUNT)}, current ${read(LAPIC_REG.CURRENT_COUNT)}`),
    line("divider", hex(read(LAPIC_REG.DIVIDE))),
    line("INTR", state.intr ? "asserted" : "not asserted"),
  ];
}

export function ioapicText(pc: Pc): string[] {
  const { state } = pc.ioapic;
  const lines = Array.from({ length: IOAPIC_PINS }, (_, pin) => {
    const entry = registerText(RTE.$, [state.low[pin]!, state.high[pin]!], ["extendedDestination"]);
    const level = ((state.asserted >>> pin) & 1) !== 0 ? "  line asserted" : "";
    return `pin ${String(pin).padStart(2)} ${nameOfPin(pin).padEnd(9)} ${entry}${level}`;
  });
  return [`I/O APIC: id ${hex(state.id)}, IOREGSEL ${hex(state.select)}`, ...lines];
}

/** IRQ numbers of the bits of one chip, by name. */
function irqs(bits: number, first: number): string {
  const set = Array.from({ length: 8 }, (_, n) => n).filter(n => ((bits >>> n) & 1) !== 0);
  return set.length === 0 ? "none" : set.map(n => `${first + n} (${irqName(first + n)})`).join(", ");
}
const irqName = (irq: number): string => (irq === 2 ? "cascade" : nameOfIrq(irq));

export function picText(pc: Pc): string[] {
  const chips = [["master", pc.pic.master.state, 0] as const, ["slave", pc.pic.slave.state, 8] as const];
  const lines = chips.flatMap(([name, s, first]) => [
    `8259 ${name}: ${s.initialised ? `vectors from ${hex(s.icw2 & 0xf8)}` : "not initialised"}${s.int ? ", INT asserted" : ""}`,
    `  IRR  ${irqs(s.irr, first)}`,
    `  ISR  ${irqs(s.isr, first)}`,
    `  IMR  ${hex(s.imr)}, masked: ${irqs(s.imr, first)}`,
    `  lines asserted: ${irqs(s.lines, first)}`,
    `  level-triggered (ELCR): ${irqs(s.elcr, first)}`,
    `  lowest priority: ${s.lowest}${(s.icw4 & 2) !== 0 ? ", automatic EOI" : ""}${s.specialMask ? ", special mask mode" : ""}`,
  ]);
  return [...lines, `INTR ${pc.pic.state.intr ? "asserted" : "not asserted"}`];
}
