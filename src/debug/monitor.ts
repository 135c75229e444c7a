/** The `monitor` commands of a debugger: what they are called and what they print. */
import { PAGE } from "../base/units.ts";
import type { X86Cpu } from "../cpu/cpu.ts";
import type { EventNames } from "../export/names.ts";
import type { Pc } from "../machine/pc.ts";
import type { EventRing } from "./event-ring.ts";
import { ioapicText, lapicText, picText } from "./monitor-controllers.ts";
import { activityText, gdtText, idtText, infoText, modeText, vtopText, xpText } from "./monitor-cpu.ts";
import { addressOf } from "./packets.ts";

export type MonitorContext = {
  readonly pc: Pc;
  readonly cpus: readonly X86Cpu[];
  readonly names: EventNames;
  readonly events: EventRing;
  /** The CPU that stopped last, and the one that the user chose since. gdb's thread does not count: it is not told of before every command. */
  readonly stoppedCpu: number;
  chosen: number | null;
  /** Steps stay out of interrupt handlers. */
  keepsOut: boolean;
  /** Resets the machine at once. */
  reset(): void;
};

type Command = {
  readonly usage: string;
  readonly meaning: string;
  /** @param cpu the chosen processor */
  run(context: MonitorContext, cpu: number, args: readonly string[]): string[];
};

/** A wrong argument: its message is the answer. */
class Refusal extends Error {}

function number(text: string | undefined, otherwise: number, limit: number, what: string): number {
  if (text === undefined) return otherwise;
  const value = /^(0x[0-9a-f]+|[0-9]+)$/i.test(text) ? Number(text) : Number.NaN;
  if (!(value >= 0 && value < limit)) throw new Refusal(`"${text}" is not a ${what} (0 to ${limit - 1})`);
  return value;
}

function address(text: string | undefined): number {
  const value = addressOf((text ?? "").replace(/^0x/i, ""));
  if (Number.isNaN(value)) throw new Refusal(`"${text ?? ""}" is not an address: hexadecimal digits, such as 0xb8000`);
  return value;
}

const MOST_BYTES = PAGE;
const EVENTS_SHOWN = 20;
const MOST_EVENTS = 4097;
const CPU = "CPU number";

const COMMANDS: { readonly [name: string]: Command } = {
  help: {
    usage: "",
    meaning: "this list",
    run: () => Object.entries(COMMANDS).map(([name, c]) => `${`${name} ${c.usage}`.padEnd(22)}${c.meaning}`),
  },
  cpus: {
    usage: "",
    meaning: "all CPUs: what they do, mode, next instruction",
    run: ({ cpus }) =>
      cpus.map(cpu => `CPU ${cpu.index}: ${activityText(cpu)}, ${modeText(cpu)}, CPL ${cpu.ctx.state.cpl}`),
  },
  cpu: {
    usage: "CPU",
    meaning: "chooses a CPU until the machine goes on; else it is the one that stopped",
    run: (context, cpu, [n]) => {
      context.chosen = number(n, cpu, context.cpus.length, CPU);
      return [`CPU ${context.chosen}`];
    },
  },
  info: {
    usage: "[CPU]",
    meaning: "control, segment and debug registers of a CPU, what waits there",
    run: ({ cpus }, cpu, [n]) => infoText(cpus[number(n, cpu, cpus.length, CPU)]!),
  },
  lapic: {
    usage: "[CPU]",
    meaning: "a local APIC",
    run: ({ pc, cpus }, cpu, [n]) => lapicText(pc, number(n, cpu, cpus.length, CPU)),
  },
  ioapic: { usage: "", meaning: "the I/O APIC", run: ({ pc }) => ioapicText(pc) },
  pic: { usage: "", meaning: "the two 8259s", run: ({ pc }) => picText(pc) },
  gdt: { usage: "", meaning: "the chosen CPU's descriptors", run: ({ cpus }, cpu) => gdtText(cpus[cpu]!) },
  idt: {
    usage: "[VECTOR]",
    meaning: "the chosen CPU's gates, or one",
    run: ({ cpus }, cpu, [n]) => idtText(cpus[cpu]!, n === undefined ? null : number(n, 0, 256, "vector")),
  },
  vtop: {
    usage: "ADDRESS",
    meaning: "page-table entries of a linear address, and where it leads",
    run: ({ cpus }, cpu, [text]) => vtopText(cpus[cpu]!, address(text)),
  },
  xp: {
    usage: "ADDRESS [BYTES]",
    meaning: "physical memory",
    run: ({ cpus }, cpu, [text, count]) =>
      xpText(cpus[cpu]!, address(text), number(count, 64, MOST_BYTES + 1, "count")),
  },
  events: {
    usage: "[COUNT]",
    meaning: "the last events: lines, interrupts, exceptions, DMA",
    run: ({ events, names }, _cpu, [n]) => {
      const lines = events.lines(number(n, EVENTS_SHOWN, MOST_EVENTS, "count"), names);
      return lines.length === 0 ? ["no events yet"] : lines;
    },
  },
  "step-irqs": {
    usage: "[on|off]",
    meaning: "whether a step enters interrupt handlers (off: they run whole)",
    run: (context, _cpu, [word]) => {
      if (word !== undefined && word !== "on" && word !== "off") throw new Refusal(`"${word}" is neither on nor off`);
      if (word !== undefined) context.keepsOut = word === "off";
      return [`a step ${context.keepsOut ? "stays out of" : "enters"} interrupt handlers`];
    },
  },
  hash: {
    usage: "",
    meaning: "hash over the whole machine, instructions, virtual time",
    run: ({ pc }) => [`${pc.stateHash()}  ${pc.retired} instructions  ${pc.clock.now()} ns`],
  },
  reset: {
    usage: "",
    meaning: "resets the machine, which then stands at its first instruction",
    run: context => {
      context.reset();
      return ["reset"];
    },
  },
};

/** Carries out a line and returns what to print; a command may be shortened as long as it is clear. */
export function monitor(context: MonitorContext, line: string): string {
  const [word = "help", ...args] = line.split(/\s+/).filter(part => part !== "");
  const fitting = Object.keys(COMMANDS).filter(name => name === word || name.startsWith(word));
  const name = fitting.includes(word) ? word : fitting[0];
  if (name === undefined || (fitting.length > 1 && name !== word))
    return `${fitting.length > 1 ? `"${word}" may be ${fitting.join(", ")}` : `no command "${word}"; see monitor help`}\n`;
  try {
    return COMMANDS[name]!.run(context, context.chosen ?? context.stoppedCpu, args)
      .map(text => `${text}\n`)
      .join("");
  } catch (error) {
    if (error instanceof Refusal) return `${error.message}\n`;
    throw error;
  }
}
