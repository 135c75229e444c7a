/**
 * One run of a machine under the command line: makes it, drives it, feeds it keys, and reports. Host time decides only when the host looks in between,
 * never what the guest does; a key press is the one thing that enters from outside, and its instant is recorded.
 */
import { DmaStats } from "../check/dma-stats.ts";
import { InterruptStats } from "../check/interrupt-stats.ts";
import { CpuModel } from "../cpu/model.ts";
import type { EventNames } from "../export/names.ts";
import { PerfettoTrace } from "../export/perfetto.ts";
import { makeReport, type Report, reportJson } from "../export/report.ts";
import { reportText, timeText } from "../export/report-text.ts";
import { parseLogSelection, TextLog } from "../export/text-log.ts";
import { HostError } from "../base/assert.ts";
import { unpackKernel } from "../firmware/unpack-kernel.ts";
import { type Exit, STATUS } from "../machine/exit.ts";
import { Pc } from "../machine/pc.ts";
import { type Scenario, ScriptedMachine } from "../machine/scenario.ts";
import { describeCosts } from "../ports/cost-tables.ts";
import { boardCounts, boardNotes } from "./board-counts.ts";
import { Console } from "./console.ts";
import { diskFiles, HostDisks } from "./disks.ts";
import { SoundFile } from "./sound.ts";
import { hostFiles } from "./tftp.ts";
import { eventNames } from "./event-names.ts";
import { keepApart, OutputFile, readBootFile } from "./files.ts";
import { GdbServer } from "./gdb-server.ts";
import { notBuiltNotes } from "./not-built.ts";
import type { RunOptions } from "./options.ts";

/** Host milliseconds between two looks at keys and signals. */
const TURN_MS = 20;
const FIRST_TURN = 500_000;
const LARGEST_TURN = 50_000_000;
/** Virtual time of a turn; a machine whose processors sleep for good, while its timers go on, retires nothing. */
const TURN_NS = 1e9;
/** An interactive machine that only waits does not run ahead of the user's clock by more than this. */
const AHEAD_MS = 30;
const INTERRUPTED = 130;
/** Host milliseconds between two looks at the console while a debugger holds the machine. */
const STANDING_MS = 20;

/** Characters typed, at the instant at which they entered the machine. */
type Input = Report["inputs"][number];

export class Session {
  readonly #options: RunOptions;
  readonly #console = new Console();
  readonly #stats: InterruptStats;
  readonly #dma = new DmaStats();
  readonly #pc: Pc;
  /** Null when a kernel image runs. */
  readonly #scripted: ScriptedMachine | null;
  readonly #names: EventNames;
  readonly #trace: { file: OutputFile; writer: PerfettoTrace } | null;
  readonly #report: OutputFile | null;
  readonly #inputs: Input[] = [];
  readonly #disks: HostDisks;
  readonly #sound: SoundFile | null;
  #began = performance.now();
  readonly #gdb: GdbServer | null;

  /** @param demo path of the bundled demonstration @param scenario what is run instead of an image */
  constructor(options: RunOptions, demo: string, scenario: Scenario | null = null) {
    this.#options = options;
    const log = options.log === null ? null : parseLogSelection(options.log);
    const file = scenario === null ? readBootFile(options.image ?? demo, options.append) : null;
    const image = file !== null && options.unpack ? unpackKernel(file) : file;
    const initrd = options.initrd === null ? null : readBootFile(options.initrd, "");
    const modules = options.modules.map(text =>
      readBootFile(modulePath(text), text.slice(modulePath(text).length + 1)),
    );
    const { floppies, cdroms } = options;
    const virtio = options.disks.filter(({ ide }) => ide !== true);
    const ide = options.disks.filter(disk => disk.ide === true);
    const media = [...virtio, ...floppies, ...ide, ...cdroms.filter(disc => disc !== null)];
    this.#disks = new HostDisks(media);
    const open = this.#disks.media[Symbol.iterator]();
    const next = () => open.next().value!;
    const diskPaths = diskFiles(media);
    keepApart(
      [
        ["the image", options.image ?? demo],
        ...(options.initrd === null ? [] : [["the initrd", options.initrd] as const]),
        ...options.modules.map(text => ["a module", modulePath(text)] as const),
        ...diskPaths.read,
      ],
      [
        ...diskPaths.written,
        ...(options.report === null ? [] : [["--report", options.report] as const]),
        ...(options.trace === null ? [] : [["--trace", options.trace] as const]),
        ...(options.sb16 === null ? [] : [["--sb16", options.sb16] as const]),
      ],
    );
    this.#sound = options.sb16 === null ? null : new SoundFile(options.sb16);
    const put = (byte: number): void => this.#console.put(byte);
    const { cpus, memory, vendor, features, testDevices, devices, without, iommu, noReboot, seed } = options;
    const { caches, bus } = options;
    // What a scenario says stays where the command says nothing.
    const said = {
      ...(seed === null ? {} : { seed }),
      ...(caches === null ? {} : { caches }),
      ...(bus === null ? {} : { bus }),
    };
    const board = {
      modules,
      initrd,
      entry: options.entry,
      vendor,
      features,
      testDevices,
      devices,
      network: options.tftp === null ? {} : hostFiles(options.tftp),
      disks: virtio.map(next),
      floppies: floppies.map(next),
      ide: { disks: ide.map(next), cdroms: cdroms.map(disc => (disc === null ? null : next())) },
      onSound: this.#sound?.onFrame ?? null,
      without,
      iommu,
      noReboot,
      ...said,
      onSerial: put,
      onDebug: put,
    };
    const { chosen, costs } = options;
    const size = { ...(chosen.cpus ? { cpus } : {}), ...(chosen.memory ? { memory } : {}) };
    this.#scripted = scenario === null ? null : new ScriptedMachine(scenario, { ...board, ...size }, costs);
    this.#pc = this.#scripted?.pc ?? new Pc({ cpus, memory, image, ...board });
    const pc = this.#pc;
    this.#names = eventNames(pc);
    this.#gdb =
      options.gdb === null
        ? null
        : new GdbServer(pc, this.#names, this.#console.interactive, line => this.#console.line(line));
    this.#stats = new InterruptStats(pc.cpus.length);
    pc.trace.listen(this.#stats, InterruptStats.KINDS);
    pc.trace.listen(this.#dma, DmaStats.KINDS);
    if (log !== null) pc.trace.listen(new TextLog(this.#names, line => this.#console.line(line)), log);
    this.#report = options.report === null ? null : new OutputFile(options.report);
    this.#trace = options.trace === null ? null : this.#openTrace(options.trace);
  }

  #openTrace(path: string): { file: OutputFile; writer: PerfettoTrace } {
    const file = new OutputFile(path);
    const writer = new PerfettoTrace(this.#names, chunk => file.write(chunk));
    for (const line of this.#pc.lines) if (line.level) writer.highFromTheStart(line.index);
    this.#pc.trace.listen(writer, PerfettoTrace.KINDS);
    return { file, writer };
  }

  /** Runs to the end and returns the exit status. */
  async run(): Promise<number> {
    this.#console.open();
    try {
      if (this.#options.gdb !== null) await this.#gdb?.listen(this.#options.gdb);
      const exit = await this.#driveWithDisks();
      await this.#gdb?.close(exit.status);
      const report = await this.#makeReport(exit);
      for (const line of reportText(report)) this.#console.line(line);
      this.#report?.write(new TextEncoder().encode(reportJson(report)));
      this.#report?.close();
      this.#trace?.writer.finish();
      this.#trace?.file.close();
      await this.#console.settle();
      if (this.#console.failure !== null) throw new HostError(this.#console.failure, STATUS.io);
      return exit.status;
    } finally {
      await this.#gdb?.close(null);
      this.#console.close();
    }
  }

  /** However the machine stops, what its guest wrote reaches the disks' files. */
  async #driveWithDisks(): Promise<Exit> {
    let exit: Exit;
    try {
      exit = await this.#drive();
    } catch (error) {
      try {
        this.#finishFiles();
      } catch (another) {
        if (String(another) !== String(error)) this.#console.line(`iretq: ${(another as Error).message}`);
      }
      throw error;
    }
    this.#finishFiles();
    return exit;
  }

  /** In the order of the options; sound is whole, too, when the disks are not. */
  #finishFiles(): void {
    try {
      this.#disks.finish([...this.#pc.disks, ...this.#pc.isa.floppies, ...this.#pc.pci.ide.images]);
    } finally {
      this.#sound?.finish();
    }
  }

  async #drive(): Promise<Exit> {
    const pc = this.#pc;
    const { maxInstructions, maxTime } = this.#options;
    let turn = FIRST_TURN;
    for (;;) {
      const held = await this.#heldByDebugger();
      if (held !== null) return held;
      const before = performance.now();
      const exit = (this.#gdb ?? pc).run(
        Math.min(maxInstructions, pc.retired + turn),
        Math.min(maxTime, pc.clock.now() + TURN_NS),
      );
      this.#console.flush();
      const reason = this.#outside() ?? (exit?.kind === "idle" && this.#console.interactive ? null : exit);
      if (reason !== null) return reason;
      if (exit === null) {
        const limit = this.#limit();
        if (limit !== null) return limit;
      }
      const now = performance.now();
      turn = nextTurn(turn, now - before);
      this.#console.progress(now, () => this.#progressText(now));
      const ahead = this.#console.interactive ? pc.clock.now() / 1e6 - (now - this.#began) : 0;
      if (exit !== null) await this.#console.wait(1000);
      else if (ahead > AHEAD_MS) await this.#console.wait(ahead);
      else await this.#console.breathe();
      this.#feed();
    }
  }

  /** Waits while a debugger holds the machine; the user's clock stands still with it. Not null: the run ends here. */
  async #heldByDebugger(): Promise<Exit | null> {
    const gdb = this.#gdb;
    if (gdb === null) return null;
    const from = performance.now();
    gdb.serve();
    while (gdb.standing && !gdb.killed) {
      this.#console.flush();
      const reason = this.#outside();
      if (reason !== null) return reason;
      await gdb.wait(STANDING_MS);
      gdb.serve();
    }
    this.#began += performance.now() - from;
    if (!gdb.killed) return null;
    return { kind: "interrupted", status: INTERRUPTED, detail: "ended by the debugger" };
  }

  /** Reasons to stop that lie outside the machine. */
  #outside(): Exit | null {
    if (this.#console.failure !== null) throw new HostError(this.#console.failure, STATUS.io);
    if (this.#console.left) return { kind: "interrupted", status: INTERRUPTED, detail: "interrupted by the user" };
    return null;
  }

  #limit(): Exit | null {
    const { maxInstructions, maxTime } = this.#options;
    if (this.#pc.retired >= maxInstructions) {
      return {
        kind: "instruction-limit",
        status: STATUS.limit,
        detail: `stopped after ${maxInstructions} instructions`,
      };
    }
    if (this.#pc.clock.now() < maxTime) return null;
    return { kind: "time-limit", status: STATUS.limit, detail: `stopped after ${timeText(maxTime)} of virtual time` };
  }

  #feed(): void {
    const keys = this.#console.takeKeys();
    if (keys.length === 0) return;
    this.#inputs.push({ instructions: this.#pc.retired, virtualNs: this.#pc.clock.now(), bytes: keys });
    this.#pc.type(keys);
  }

  #progressText(hostMs: number): string {
    const rate = this.#pc.retired / 1e3 / Math.max(1, hostMs - this.#began);
    const hint = this.#console.interactive ? " (Ctrl-A x leaves)" : "";
    return `${timeText(this.#pc.clock.now())} of virtual time, ${rate.toFixed(1)} M instructions/s${hint}`;
  }

  #scenarioNotes(): string[] {
    return this.#scripted === null ? [] : [describeCosts(this.#scripted.costs), ...this.#scripted.notes];
  }

  async #makeReport(exit: Exit): Promise<Report> {
    const pc = this.#pc;
    const facts = {
      instructions: pc.retired,
      virtualNs: pc.clock.now(),
      exit,
      stateHash: this.#options.stateHash ? pc.stateHash() : null,
      inputs: this.#inputs,
      ...boardCounts(pc),
      notes: [
        ...this.#scenarioNotes(),
        ...boardNotes(pc),
        ...(await notBuiltNotes(
          pc.cpus.map(cpu => cpu.notBuilt),
          new CpuModel(this.#options.vendor, this.#options.features).features,
        )),
      ],
    };
    return makeReport(facts, this.#stats, this.#names, this.#dma);
  }
}

/** The file's part of `FILE ARGUMENTS…`. */
const modulePath = (text: string): string => text.split(" ", 1)[0]!;

/** Instructions for the next turn, such that it lasts about as long as it should. */
function nextTurn(turn: number, tookMs: number): number {
  if (tookMs < TURN_MS / 2) return Math.min(LARGEST_TURN, turn * 2);
  if (tookMs > TURN_MS * 2) return Math.max(FIRST_TURN / 10, Math.floor(turn / 2));
  return turn;
}
