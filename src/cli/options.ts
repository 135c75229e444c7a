/**
 * The command line: its grammar, and what it means as data.
 */
import { Command, CommanderError } from "commander";
import { HostError } from "../base/assert.ts";
import type { Ns } from "../base/units.ts";
import type { LinuxEntry } from "../firmware/boot-plan.ts";
import type { OptionalPart } from "../machine/board-facts.ts";
import type { BusSpec } from "../machine/arbiter-board.ts";
import type { CacheSpec } from "../machine/cache-board.ts";
import { type IommuSpec, parseIommu } from "../machine/iommu-board.ts";
import { DEVICE_NAMES, type DeviceSpec, parseDevice } from "../machine/pci-devices.ts";
import { COST_TABLES } from "../ports/cost-tables.ts";
import type { CostTable } from "../ports/task.ts";
import { parseBus, parseCaches } from "./bus-options.ts";
import { type DiskOption, parseCdrom, parseDisk, parseFloppy } from "./disks.ts";
import { parseTftp, type TftpOption } from "./tftp.ts";
import {
  Costs,
  Count,
  Duration,
  Entry,
  Features,
  FileName,
  parseValue,
  PositiveCount,
  Size,
  ValueError,
  Vendor,
  Without,
  Port,
} from "./values.ts";

export const VERSION = "0.1.0";

export type RunOptions = {
  /** Path of the image; null for the bundled demonstration. */
  readonly image: string | null;
  readonly cpus: number;
  readonly memory: number;
  /** Whether the user said so; a scenario has its own. */
  readonly chosen: { readonly cpus: boolean; readonly memory: boolean };
  /** Cost table of a scenario's cores; null: the scenario's own. */
  readonly costs: CostTable | null;
  readonly append: string;
  /** `FILE ARGUMENTS…` each. */
  readonly modules: readonly string[];
  /** Path of Linux' initial RAM disk. */
  readonly initrd: string | null;
  /** How a Linux kernel is entered; null: as the loader sees fit. */
  readonly entry: LinuxEntry | null;
  /** Unpack compressed kernels on the host. */
  readonly unpack: boolean;
  readonly seed: number | null;
  readonly maxTime: Ns;
  readonly maxInstructions: number;
  readonly report: string | null;
  readonly trace: string | null;
  readonly log: string | null;
  readonly stateHash: boolean;
  readonly vendor: "GenuineIntel" | "AuthenticAMD";
  readonly features: readonly string[];
  readonly testDevices: boolean;
  readonly devices: readonly DeviceSpec[];
  readonly disks: readonly DiskOption[];
  readonly floppies: readonly DiskOption[];
  /** CD-ROM drives; null for one without a disc. */
  readonly cdroms: readonly (DiskOption | null)[];
  /** Where a Sound Blaster's sound goes; null: there is none. */
  readonly sb16: string | null;
  /** Files of the host that the simulated network lends; null for none. */
  readonly tftp: TftpOption | null;
  /** Remapping hardware; null for none. */
  readonly iommu: IommuSpec | null;
  /** Modelled caches; null for none. */
  readonly caches: CacheSpec | null;
  /** A bus that devices share; null: each has its own pace. */
  readonly bus: BusSpec | null;
  /** Parts that the board does not have. */
  readonly without: readonly OptionalPart[];
  readonly noReboot: boolean;
  /** Port of the gdb server on loopback; null for none. */
  readonly gdb: number | null;
};

export type AcpiOptions = {
  readonly cpus: number;
  readonly without: readonly OptionalPart[];
  readonly folder: string;
};

/** `help`: the text was written already. */
export type Parsed =
  | { readonly kind: "help" }
  | { readonly kind: "run"; readonly options: RunOptions }
  | { readonly kind: "acpi"; readonly options: AcpiOptions };

type Raw = {
  cpus: string;
  memory: string;
  append?: string;
  module?: string[];
  initrd?: string;
  entry?: string;
  unpack?: boolean;
  seed?: string;
  maxTime?: string;
  maxInstructions?: string;
  report?: string;
  trace?: string;
  log?: string;
  stateHash?: boolean;
  cpuVendor: string;
  cpuFeature?: string;
  testDevices?: boolean;
  device?: string[];
  disk?: string[];
  floppy?: string[];
  cdrom?: string[];
  sb16?: string;
  tftp?: string;
  iommu?: string;
  caches?: string;
  storeBuffer?: boolean;
  bus?: string;
  share?: string[];
  without?: string;
  reboot: boolean;
  gdb?: string;
  costs?: string;
};

const collect = (value: string, before: string[] = []): string[] => [...before, value];

const STATUSES = `
Exit status: 0 the guest powered off; odd: the guest's own, by port 0xF4; 64 wrong usage; 66 unusable image;
70 triple fault; 72 a limit was reached or nothing can happen any more; 74 host input or output failed;
130 interrupted.`;
const EXAMPLES = `
Examples:
  iretq demo
  iretq run kernel.elf --cpus 4 --memory 512M --append "console=ttyS0" --module "initrd.img quiet"
  iretq run vmlinuz --initrd initrd.img --append "console=ttyS0"
  iretq run kernel.elf --max-time 2s --report report.json --trace run.pftrace
  iretq run kernel.elf --log irq,exc 2> log.txt
  iretq run examples/1-first-interrupt.ts --costs desktop
`;

const WITHOUT = "parts that the board does not have: hpet, pm-timer";
const withoutOf = (text: string | undefined): readonly OptionalPart[] =>
  text === undefined ? [] : parseValue(Without, "--without", text);

function addRunOptions(command: Command, cpus: string, memory: string): Command {
  return command
    .option("--cpus <n>", "number of CPUs, 1 to 64", cpus)
    .option("--memory <size>", "RAM, such as 256M or 1G", memory)
    .option("--append <text>", "kernel command line")
    .option("--module <file-and-args>", "multiboot module with its arguments; may be repeated", collect)
    .option("--seed <n>", "draw the lengths of CPU slices with this seed")
    .option("--max-time <time>", "stop after this much virtual time, such as 10s or 500ms")
    .option("--max-instructions <n>", "stop after this many instructions of all CPUs")
    .option("--report <file>", "write the report as JSON")
    .option("--trace <file>", "write a trace for ui.perfetto.dev")
    .option("--log <what>", "print events: line, irq, exc, ipi, mmio, pio, cpu, msr, dma, all, or single ones")
    .option("--state-hash", "print a hash over the whole machine at the end")
    .option("--cpu-vendor <name>", "GenuineIntel or AuthenticAMD", "GenuineIntel")
    .option("--cpu-feature <list>", "switch CPU features: +name,-name")
    .option("--no-reboot", "end with status 0 where the guest resets the machine")
    .option("--device <name,key=value>", `add a PCI function: ${DEVICE_NAMES.join(", ")}; may be repeated`, collect)
    .option(
      "--disk <file,if=ide,ro,snapshot,key=value>",
      "add a virtio or IDE disk with this image; may be repeated",
      collect,
    )
    .option("--cdrom <file>", "add an IDE CD-ROM drive with this disc, or none; may be repeated", collect)
    .option("--floppy <file,ro,snapshot>", "add a floppy drive with this disk, 360K to 2.88M; may be repeated", collect)
    .option("--sb16 <file>", "add a Sound Blaster 16 and write what it plays as WAV")
    .option(
      "--tftp <folder,bootfile=name>",
      "files that the simulated network lends by TFTP, and which of them to boot",
    )
    .option("--without <list>", WITHOUT)
    .option("--gdb <port>", "wait for gdb on 127.0.0.1 (0: any free port) and let it control the run")
    .option("--iommu <vtd,key=value>", "remapping hardware for DMA and interrupts: Intel VT-d")
    .option("--caches <kind>", "model caches: coherent, or noncoherent with devices; Linux boots 6 to 8 times slower")
    .option("--store-buffer", "with --caches: a store buffer in each CPU")
    .option("--bus <key=value>", "a bus that devices wait for: bandwidth=16M,policy=weighted,turnaround=30ns")
    .option(
      "--share <name,key=value>",
      "a device's terms on the bus: guaranteed=200K,weight=2,burst=64,priority=1; may be repeated",
      collect,
    )
    .option("--costs <name>", `cost table of a scenario's cores: ${Object.keys(COST_TABLES).join(", ")}`)
    .option("--test-devices", "add QEMU's pc-testdev")
    .addHelpText("after", STATUSES);
}

function toOptions(image: string | null, raw: Raw, command: Command): RunOptions {
  const given = <T>(text: string | undefined, parse: (text: string) => T, otherwise: T): T =>
    text === undefined ? otherwise : parse(text);
  return {
    image: image === null ? null : parseValue(FileName, "image", image),
    cpus: parseValue(PositiveCount, "--cpus", raw.cpus),
    memory: parseValue(Size, "--memory", raw.memory),
    chosen: {
      cpus: command.getOptionValueSource("cpus") === "cli",
      memory: command.getOptionValueSource("memory") === "cli",
    },
    costs: given<CostTable | null>(raw.costs, text => COST_TABLES[parseValue(Costs, "--costs", text)], null),
    append: raw.append ?? "",
    initrd: given<string | null>(raw.initrd, text => parseValue(FileName, "--initrd", text), null),
    entry: parseValue(Entry, "--entry", raw.entry ?? "auto"),
    unpack: raw.unpack !== false,
    modules: (raw.module ?? []).map(text => parseValue(FileName, "--module", text).trim()),
    seed: given<number | null>(raw.seed, text => parseValue(Count, "--seed", text), null),
    maxTime: given(raw.maxTime, text => parseValue(Duration, "--max-time", text), Number.POSITIVE_INFINITY),
    maxInstructions: given(
      raw.maxInstructions,
      text => parseValue(PositiveCount, "--max-instructions", text),
      Number.POSITIVE_INFINITY,
    ),
    report: given<string | null>(raw.report, text => parseValue(FileName, "--report", text), null),
    trace: given<string | null>(raw.trace, text => parseValue(FileName, "--trace", text), null),
    log: raw.log ?? null,
    stateHash: raw.stateHash === true,
    vendor: parseValue(Vendor, "--cpu-vendor", raw.cpuVendor),
    features: given<readonly string[]>(raw.cpuFeature, text => parseValue(Features, "--cpu-feature", text), []),
    testDevices: raw.testDevices === true,
    devices: (raw.device ?? []).map(parseDevice),
    disks: (raw.disk ?? []).map(parseDisk),
    floppies: (raw.floppy ?? []).map(parseFloppy),
    cdroms: (raw.cdrom ?? []).map(parseCdrom),
    sb16: given<string | null>(raw.sb16, text => parseValue(FileName, "--sb16", text), null),
    tftp: given<TftpOption | null>(raw.tftp, parseTftp, null),
    iommu: given<IommuSpec | null>(raw.iommu, parseIommu, null),
    caches: parseCaches(raw.caches, raw.storeBuffer === true),
    bus: parseBus(raw.bus, raw.share ?? []),
    without: withoutOf(raw.without),
    noReboot: !raw.reboot,
    gdb: given<number | null>(raw.gdb, text => parseValue(Port, "--gdb", text), null),
  };
}

/** Throws {@link HostError} with status 64 for anything that is not understood. @param args without node and script */
export function parseCommandLine(args: readonly string[], write: (text: string) => void): Parsed {
  let parsed: Parsed = { kind: "help" };
  const quiet = (command: Command): Command =>
    command.exitOverride().configureOutput({ writeOut: write, writeErr: () => {}, outputError: () => {} });
  const program = quiet(new Command("iretq"))
    .description("A deterministic x86-64 PC that shows what interrupts do")
    .version(VERSION)
    .addHelpText("after", EXAMPLES);
  const run = quiet(program.command("run"))
    .description("boot a kernel: Linux, multiboot 1 or 2, or boot sectors; or run a scenario in TypeScript")
    .argument(
      "<image>",
      "Linux bzImage or vmlinux, multiboot kernel (ELF, or raw with load addresses), boot sectors, or a scenario (.ts)",
    )
    .option("--initrd <file>", "Linux' initial RAM disk")
    .option("--entry <kind>", "how a Linux kernel starts: auto, linux64, linux32, linux16 (real mode) or pvh", "auto")
    .option("--no-unpack", "let a compressed Linux kernel unpack itself");
  addRunOptions(run, "1", "256M").action((image: string, raw: Raw) => {
    parsed = { kind: "run", options: toOptions(image, raw, run) };
  });
  const demo = quiet(program.command("demo")).description("boot the bundled demonstration on two CPUs");
  addRunOptions(demo, "2", "64M").action((raw: Raw) => {
    parsed = { kind: "run", options: toOptions(null, raw, demo) };
  });
  quiet(program.command("acpi"))
    .description("write the firmware tables of such a PC as files")
    .requiredOption("--dump <folder>", "where to, one file per table")
    .option("--cpus <n>", "number of CPUs, 1 to 64", "1")
    .option("--without <list>", WITHOUT)
    .action((raw: { dump: string; cpus: string; without?: string }) => {
      const folder = parseValue(FileName, "--dump", raw.dump);
      const cpus = parseValue(PositiveCount, "--cpus", raw.cpus);
      parsed = { kind: "acpi", options: { folder, cpus, without: withoutOf(raw.without) } };
    });
  try {
    program.parse([...args], { from: "user" });
  } catch (error) {
    if (error instanceof ValueError) throw new HostError(error.message, 64);
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === "commander.help" && args.length === 0)
      throw new HostError("say what to do: run, demo, acpi or --help", 64);
    if (error.exitCode !== 0) throw new HostError(error.message.replace(/^error: /, "").split("\n")[0]!, 64);
  }
  return parsed;
}
