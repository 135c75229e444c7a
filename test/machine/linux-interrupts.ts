/**
 * /proc/interrupts of a Linux guest against our report. Which of our counts a row claims follows from the kernel's own rules (arch/x86/kernel/irq.c,
 * arch/x86/include/asm/irq_vectors.h of Linux 6.1).
 */
import { IRQ_LINES } from "../../src/machine/irq-map.ts";
import type { Counts } from "./linux-boot.ts";

export type Row = { readonly name: string; readonly perCpu: readonly number[]; readonly text: string };

/** The rows that the guest printed behind `INTERRUPTS <round>`. */
export function rowsOf(lines: readonly string[], round: number): Row[] {
  const rows: Row[] = [];
  const start = lines.indexOf(`INTERRUPTS ${round}`);
  for (const line of lines.slice(start + 2)) {
    const match = /^ *(\w+):((?: +\d+)+) *(.*)$/.exec(line);
    if (match === null) break;
    const [, name, counts, text] = match;
    rows.push({ name: name!, perCpu: counts!.trim().split(/ +/).map(Number), text: text! });
  }
  return rows;
}

type Kind = Counts["vectors"][number]["sources"][number]["kind"];
/** One of our counts: a source that came by a vector. */
export type Cell = {
  readonly vector: number;
  readonly kind: Kind;
  readonly number: number;
  readonly perCpu: readonly number[];
};

export const cellsOf = ({ vectors }: Counts): Cell[] =>
  vectors.flatMap(({ vector, sources }) =>
    sources.map(({ kind, number, perCpu }) => ({ vector, kind, number, perCpu })),
  );

/** Vectors with a row of their own. Function calls come by two, one for single targets (CALL_FUNCTION_SINGLE_VECTOR, CALL_FUNCTION_VECTOR). */
const SYSTEM_VECTORS: { readonly [row: string]: readonly number[] } = {
  LOC: [0xec],
  RES: [0xfd],
  CAL: [0xfb, 0xfc],
  IWI: [0xf6],
  TRM: [0xfa],
  THR: [0xf9],
  DFR: [0xf4],
  PIN: [0xf2],
  PIW: [0xf1],
  NPI: [0xf0],
  PLT: [0xf7],
};
/** Vectors that the kernel does not count: the reboot vector stops CPUs, the clean-up of an interrupt that has moved to another CPU. */
export const UNCOUNTED_VECTORS: readonly number[] = [0xf8, 0x20];
/** Rows that no interrupt stands behind: re-reads of the ICR, polls, and what is counted elsewhere (TLB shootdowns are function calls). */
const NO_INTERRUPT = ["RTR", "MCP", "MCE", "PMI", "MIS", "TLB"];

/** Functions have a hardware number of bus, device, function and entry: `msi_index | pci_dev_id << 11` (pci_msi_domain_calc_hwirq). */
const MSI_ENTRIES = 11;

/** Whether a row counts what `cell` counts. */
function claims({ name, text }: Row, { vector, kind, number }: Cell): boolean {
  if (name in SYSTEM_VECTORS) return SYSTEM_VECTORS[name]!.includes(vector) && (kind === "ipi" || kind === "lvt");
  if (!/^\d+$/.test(name)) return false;
  const pin = /^IO-APIC +(\d+)-/.exec(text)?.[1];
  if (pin !== undefined) {
    // Before the kernel switches the I/O APIC on, the same line comes through the 8259 pair.
    const irq = IRQ_LINES.find(line => line.ioapic === Number(pin))!.pic;
    return kind === "pin" ? number === Number(pin) : kind === "pic" && number === irq;
  }
  if (text.startsWith("XT-PIC")) return kind === "pic" && number === Number(name);
  const message = /^PCI-MSIX?-?(?:[\d:.]+)? +(\d+)-/.exec(text)?.[1];
  return message !== undefined && kind === "msi" && number === Number(message) >>> MSI_ENTRIES;
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** Our count of what a row shows, by CPU where the kernel counts by CPU; null for rows that no interrupt stands behind. */
function countOf(row: Row, counts: Counts): number[] | null {
  const { nmis, spuriousApic, spuriousPic } = counts;
  if (NO_INTERRUPT.includes(row.name)) return null;
  if (row.name === "NMI") return [nmis];
  if (row.name === "SPU") return [spuriousApic];
  // irq_err_count: the local APIC's error vector, and spurious interrupts of the 8259 pair.
  if (row.name === "ERR") {
    const errors = cellsOf(counts).filter(cell => cell.vector === 0xfe);
    return [spuriousPic + sum(errors.map(cell => sum(cell.perCpu)))];
  }
  const mine = cellsOf(counts).filter(cell => claims(row, cell));
  return row.perCpu.map((_, cpu) => sum(mine.map(cell => cell.perCpu[cpu] ?? 0)));
}

export type Comparison = {
  /** What the guest says and neither of our counts before and after allows. */
  readonly wrong: string[];
  /** Of our counts: such that not just one row claims. */
  readonly unclaimed: string[];
  /** Counts that are not 0, and how many of them stood still while the guest read them. */
  readonly counted: number;
  readonly exact: number;
};

/** Compares what the guest read with our counts right before and right after. */
export function compare(rows: readonly Row[], before: Counts, after: Counts): Comparison {
  const wrong: string[] = [];
  let counted = 0;
  let exact = 0;
  const joined = joinMessages(rows);
  for (const row of joined) {
    const low = countOf(row, before);
    const high = countOf(row, after);
    if (low === null || high === null) continue;
    const shown = low.length === 1 ? [sum(row.perCpu)] : row.perCpu;
    shown.forEach((value, cpu) => {
      const [from, to] = [low[cpu]!, high[cpu]!];
      if (value < from || value > to) wrong.push(`${row.name} ${row.text}, CPU ${cpu}: ${value}, we ${from} to ${to}`);
      if (value === 0) return;
      counted++;
      if (from === to) exact++;
    });
  }
  const unclaimed = cellsOf(after)
    .filter(({ vector }) => !UNCOUNTED_VECTORS.includes(vector) && vector !== 0xfe)
    .filter(cell => joined.filter(row => claims(row, cell)).length !== 1)
    .map(({ vector, kind, number, perCpu }) => `vector ${vector} ${kind} ${number}: ${perCpu.join("/")}`);
  return { wrong, unclaimed, counted, exact };
}

/** A function of several messages has a row for each of its entries; our counts are by function. */
function joinMessages(rows: readonly Row[]): Row[] {
  const joined = new Map<string, Row>();
  for (const row of rows) {
    const hardware = /^PCI-MSI\S* +(\d+)-/.exec(row.text)?.[1];
    const key = hardware === undefined ? row.name : `msi ${Number(hardware) >>> MSI_ENTRIES}`;
    const other = joined.get(key);
    joined.set(
      key,
      other === undefined ? row : { ...other, perCpu: row.perCpu.map((n, cpu) => n + other.perCpu[cpu]!) },
    );
  }
  return [...joined.values()];
}
