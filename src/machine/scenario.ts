/**
 * A machine whose CPUs run TypeScript: all of them, or some beside x86 cores. A scenario is its options and a function that says what each CPU runs and
 * what the world outside does; the board, its devices and its controllers are the ones that a kernel image gets.
 */
import { HostError } from "../base/assert.ts";
import type { Ns, PhysAddr, Vector } from "../base/units.ts";
import { ScriptedCode } from "../cpu/scripted/code-space.ts";
import { ScriptedCore, type ScriptedParts } from "../cpu/scripted/core.ts";
import type { BootFile } from "../firmware/boot-plan.ts";
import { COST_TABLES } from "../ports/cost-tables.ts";
import type { EntryState } from "../ports/entry-state.ts";
import type { Initiator } from "../ports/initiator.ts";
import type { KernelMachine } from "../ports/kernel-machine.ts";
import type { LinePin } from "../ports/line.ts";
import type { CostTable, Routine } from "../ports/task.ts";
import { PRIORITY } from "../sim/event-queue.ts";
import type { CacheSpec } from "./cache-board.ts";
import { IRQ_LINES } from "./irq-map.ts";
import { HPET_BASE, IOAPIC_BASE, splitRam } from "./memory-map.ts";
import { PIRQ_ACTIVE_LOW } from "./pci-map.ts";
import { Pc } from "./pc.ts";
import type { PcOptions } from "./pc-options.ts";
import { parseDevice } from "./pci-devices.ts";
import { type BoardProcessor, processorMaker } from "./processor.ts";

const MIB = 1024 * 1024;
const BAD = 66;

export type ScenarioOptions = {
  /** 1 to 64; 1 when absent. */
  readonly cpus?: number;
  /** Bytes of RAM; 64 MiB when absent. */
  readonly memory?: number;
  /** `fixed` when absent. */
  readonly costs?: CostTable;
  /** CPUs that are x86 cores; the others are scripted. CPU 0 needs an image then. */
  readonly x86?: readonly number[];
  /** For x86 cores. */
  readonly image?: BootFile | null;
  /** As after `--device`. */
  readonly devices?: readonly string[];
  readonly testDevices?: boolean;
  /** Scripted cores other than 0 wait for a start-up IPI, as on a PC, instead of starting with the machine. */
  readonly waitForSipi?: boolean;
  /** Caches between all cores and memory, as `--caches`; without `coherent`, devices do not look into them. */
  readonly caches?: CacheSpec;
  /** A last word about the board, for tests and hosts. */
  readonly board?: Partial<PcOptions>;
};

/** Default export of a scenario's file. */
export type Scenario = {
  readonly kind: "scenario";
  readonly options: ScenarioOptions;
  readonly setUp: (machine: ScriptedMachine) => void;
};

/**
 * A place in a scenario's run. A generator cannot be copied, so that the place is kept as the way there: how far the run was, what was typed on the way, and
 * the hash that the machine had.
 */
export type ScenarioPlace = {
  readonly retired: number;
  readonly typed: readonly { readonly retired: number; readonly text: string }[];
  readonly hash: string;
};

/** Declares a scenario. `setUp` gives CPUs their programs; it runs once, before virtual time begins. */
export function scenario(options: ScenarioOptions, setUp: (machine: ScriptedMachine) => void): Scenario {
  return { kind: "scenario", options, setUp };
}

/** A scripted core as the board holds it. */
class BoardCore extends ScriptedCore implements BoardProcessor {
  readonly notBuilt: ReadonlyMap<string, number> = new Map();
  readonly unsaved =
    "a machine with scripted cores cannot be saved, because a generator cannot be copied: save the scenario's machine, which is loaded by repeating its way";

  constructor(parts: ScriptedParts) {
    super(parts);
  }

  start(_entry: EntryState): void {}

  presetMsrs(): void {}

  shutdownReason(): string {
    const { chain } = this.delivery;
    return `CPU ${this.index} shut down after a triple fault: ${chain.describe()}; ${this.current.describe()}`;
  }
}

export class ScriptedMachine implements KernelMachine {
  readonly pc: Pc;
  readonly cpus: number;
  readonly code = new ScriptedCode();
  readonly costs: CostTable;
  readonly memoryEnd: PhysAddr;
  readonly ioApic = IOAPIC_BASE;
  readonly hpet = HPET_BASE;
  readonly activeLowPins = PIRQ_ACTIVE_LOW;
  /** Sentences for the report. */
  readonly notes: string[] = [];
  readonly #programs: (Routine | null)[];
  readonly #cores: (BoardCore | null)[] = [];
  readonly #masters = new Map<number, Initiator>();
  readonly #message = new Uint8Array(4);
  #happenings = 0;
  #begun = false;
  /** What was typed since the run began. */
  readonly #typed: { readonly retired: number; readonly text: string }[] = [];

  /** Throws {@link HostError}. `board` and `costs` go before what the scenario's options say; devices are added. */
  constructor({ options, setUp }: Scenario, board: Partial<PcOptions> = {}, costs: CostTable | null = null) {
    const { cpus = 1, memory = 64 * MIB, x86 = [], image = null } = options;
    const devices = [...(options.devices ?? []).map(parseDevice), ...(board.devices ?? [])];
    const testDevices = options.testDevices === true || board.testDevices === true;
    const caches = options.caches === undefined ? {} : { caches: options.caches };
    const given = { cpus, memory, image, ...caches, ...options.board, ...board, devices, testDevices, noReboot: true };
    this.cpus = given.cpus;
    this.costs = costs ?? options.costs ?? COST_TABLES.fixed;
    this.memoryEnd = splitRam(given.memory).low;
    this.#programs = new Array<Routine | null>(this.cpus).fill(null);
    const makeX86 = processorMaker();
    this.pc = new Pc({
      ...given,
      makeProcessor: parts => {
        if (x86.includes(parts.index)) {
          this.#cores.push(null);
          return makeX86(parts);
        }
        const core = this.#makeCore(parts, options);
        this.#cores.push(core);
        return core;
      },
    });
    setUp(this);
    this.#begun = true;
    this.#cores.forEach((core, cpu) => {
      core?.begin();
      this.pc.scheduler.woken(cpu);
    });
  }

  #makeCore(
    parts: Pick<ScriptedParts, "index" | "bus" | "ram" | "apic" | "clock" | "trace">,
    options: ScenarioOptions,
  ) {
    const { index, bus, ram, apic, clock, trace } = parts;
    const { costs, code } = this;
    const program = (): Routine | null => this.#programs[index]!;
    const startsAtReset = index === 0 || options.waitForSipi !== true;
    return new BoardCore({ index, bus, ram, apic, clock, trace, code, costs, program, startsAtReset });
  }

  pinOfIrq(irq: number): number {
    return IRQ_LINES.find(line => line.irq === irq)?.ioapic ?? irq;
  }

  setProgram(cpu: number, program: Routine): void {
    if (this.#cores[cpu] === undefined || this.#cores[cpu] === null)
      throw new HostError(`there is no scripted CPU ${cpu} that could run something`, BAD);
    if (this.#begun) throw new HostError(`CPU ${cpu} is given its program when the machine runs already`, BAD);
    this.#programs[cpu] = program;
  }

  note(text: string): void {
    this.notes.push(text);
  }

  // --- save and load ----------------------------------------------------------------------------------------------------------------------------

  save(): ScenarioPlace {
    return { retired: this.pc.retired, typed: [...this.#typed], hash: this.pc.stateHash() };
  }

  /**
   * Brings a machine that was just made of the same scenario to where another one was saved, by running there. Throws {@link HostError} (66) when it has run
   * already, and when it arrives in another state: the scenario is not the same, or does not depend on its machine alone.
   */
  load(place: ScenarioPlace): void {
    if (this.pc.retired !== 0) throw new HostError("a scenario can be loaded only before its machine has run", BAD);
    for (const { retired, text } of place.typed) {
      this.#runTo(retired);
      this.type(text);
    }
    this.#runTo(place.retired);
    if (this.pc.stateHash() !== place.hash)
      throw new HostError("the snapshot does not fit: this scenario comes to another state at that instant", BAD);
  }

  #runTo(retired: number): void {
    while (this.pc.retired < retired) if (this.pc.run(retired) !== null) return;
  }

  // --- the world outside ------------------------------------------------------------------------------------------------------------------------

  /** A new driver on interrupt line `irq`: ISA interrupts 0 to 15, I/O APIC inputs from 16 on. */
  line(irq: number): LinePin {
    const line = this.pc.lines.find(({ index }) => index === irq);
    if (line === undefined) throw new HostError(`this board has no interrupt line ${irq}`, BAD);
    return line.pin();
  }

  /** `action` happens at `time` (ns since power-on). */
  at(time: Ns, action: () => void): void {
    this.pc.queue.alarm(`scenario ${this.#happenings++}`, action, PRIORITY.device).armAt(time);
  }

  /** `action` happens for the first time at `first` and then every `period` ns, `times` times in all. */
  every(first: Ns, period: Ns, times: number, action: (count: number) => void): void {
    let count = 0;
    const alarm = this.pc.queue.alarm(
      `scenario ${this.#happenings++}`,
      () => {
        action(count++);
        if (count < times) alarm.armIn(period);
      },
      PRIORITY.device,
    );
    if (times > 0) alarm.armAt(first);
  }

  /** Somebody types at the serial terminal. */
  type(text: string): void {
    if (this.#begun) this.#typed.push({ retired: this.pc.retired, text });
    this.pc.typeSerial(new TextEncoder().encode(text));
  }

  /** A device's message as a memory write: address and data as in its MSI registers. `requester` is the device's bus, device and function. */
  message(address: PhysAddr, data: number, requester = 0): void {
    let master = this.#masters.get(requester);
    if (master === undefined) this.#masters.set(requester, (master = this.pc.busMaster(requester)));
    const bytes = this.#message;
    for (let i = 0; i < 4; i++) bytes[i] = data >>> (8 * i);
    master.write(address, bytes, 0, 4);
  }

  /** The interrupt vector as an MSI would carry it to one local APIC. */
  static messageTo(apicId: number, vector: Vector): { address: PhysAddr; data: number } {
    return { address: 0xfee00000 + (apicId << 12), data: vector };
  }
}
