/**
 * One x86-64 processor: its run loop. Instructions are carried out by generated code (interp/) and TypeScript helpers (system/); here is what happens
 * between them: events at instruction boundaries, faults, finding and decoding code, single steps.
 *
 * Not modelled: system management mode (SMIs are counted), machine checks, performance counters, speculative effects of any kind.
 */
import { PAGE } from "../base/units.ts";
import { EVENT } from "../ports/events.ts";
import { PAGE_KIND } from "../ports/cpu-bus.ts";
import { ACTIVITY, type Activity, type Processor } from "../ports/processor.ts";
import type { ResetKind, ResetPhase } from "../ports/part.ts";
import type { StateRecord } from "../sim/state.ts";
import { CpuContext, EXC, GuestFault } from "./context.ts";
import type { DebugStops } from "./debug-stops.ts";
import { Engine, isa } from "./engine.ts";
import { sseOp } from "./fpu/sse.ts";
import * as L from "./layout.ts";
import { cpuHelpers, type CpuUnits, createUnits } from "./helpers.ts";
import { resetRegisters } from "./reset.ts";
import { CpuState, FLAG, MODE } from "./state.ts";
import { ACCESS } from "./system/page-walk.ts";
import { fpTrap } from "./fp-trap.ts";
import { CODE_FETCH, CodeFetch } from "./code-fetch.ts";
import type { Mmu } from "./system/mmu.ts";
import type { TlbState } from "./system/tlb.ts";

/** Exceptions in a row that take no time. */
const FREE_FAULTS = 16;

/** What a processor is made of, given by the board. */
export type CpuParts = Omit<ConstructorParameters<typeof CpuContext>[0], "state"> & {
  readonly engine: Engine;
  /** Number of processors of the machine, for CPUID. */
  readonly cpus: number;
  readonly bsp: boolean;
  /** FERR# of the x87 unit, for CR0.NE = 0. */
  readonly ferr?: (level: boolean) => void;
};

/** How a debugger's step went, told at the boundary behind it. */
export type Step = {
  /** The instruction retired, or raised an exception whose handler is entered now. */
  readonly done: boolean;
  /** An interrupt (or another event) was taken at this boundary, and would return here; null for none. */
  readonly interrupted: { readonly linear: number; readonly sp: bigint } | null;
};

export class X86Cpu implements Processor {
  readonly name: string;
  readonly index: number;
  readonly ctx: CpuContext;
  readonly units: CpuUnits;
  readonly mmu: Mmu;
  readonly state: StateRecord;
  /** Helpers by the numbers that generated code uses. */
  readonly helpers: readonly ((record: number) => number)[];
  /**
   * A debugger wants to know when one instruction has retired or an event was taken. While set, every `run` is cut there, which changes nothing for the
   * guest. Whoever sets it stops the machine when told.
   */
  onStep: ((step: Step) => void) | null = null;
  #interrupted: Step["interrupted"] = null;
  readonly #engine: Engine;
  readonly #s: CpuState;
  readonly #bsp: boolean;
  readonly #fetch: CodeFetch;
  /** The fault that made generated code return. */
  readonly #fault = new GuestFault();
  #budget = 0;
  #inside = false;
  #stopAsked = false;

  constructor(parts: CpuParts) {
    this.index = parts.index;
    this.name = `cpu${parts.index}`;
    this.#engine = parts.engine;
    this.#bsp = parts.bsp;
    const base = Engine.base(parts.index);
    this.#s = new CpuState(parts.engine.buffer, base);
    this.ctx = new CpuContext({ ...parts, state: this.#s });
    resetRegisters(this.#s, parts.model, "power", parts.bsp);
    this.units = createUnits(this.ctx, parts, (page, offset, length) => parts.engine.written(page, offset, length));
    this.mmu = this.units.mmu;
    this.mmu.stops = parts.engine.stops;
    this.ctx.deliver = (vector, checkDpl, error, image) =>
      parts.engine.exports.deliver(base, vector, checkDpl, error, image);
    this.#fetch = new CodeFetch(this.ctx, this.mmu, parts.engine);
    this.state = { registers: new Uint8Array(parts.engine.buffer, base, L.SAVED_SIZE) };
    this.helpers = cpuHelpers(this.ctx, this.units, isa().set.helperNames);
    parts.engine.attach(this);
  }

  // --- Part -------------------------------------------------------------------------------------------------------------------------------------

  reset(phase: ResetPhase, _kind: ResetKind): void {
    if (phase !== "enter") return;
    // To a processor a platform reset (RESET#) is the same as switching it on.
    resetRegisters(this.#s, this.ctx.model, "power", this.#bsp);
    this.units.reset();
    this.restored();
  }

  restored(): void {
    const s = this.#s;
    for (let offset = L.CACHE; offset < L.STATE_SIZE; offset += 4)
      if (offset < L.DTLB_BASE || offset > L.ITLB_BASE) s.setLo(offset, 0);
    s.setLo(L.MODEL_AMD, this.ctx.model.vendor === "AuthenticAMD" ? 1 : 0);
    this.mmu.tlb.flushAll();
    this.mmu.tlb.shareMap();
    this.units.seg.recompute();
    this.mmu.tlb.selectBank();
    this.mmu.debugChanged();
    this.#derive();
  }

  saveCaches(): StateRecord {
    return this.mmu.tlb.save(table => this.#engine.code.placeOf(table));
  }

  loadCaches(saved: StateRecord): void {
    this.mmu.tlb.load(saved as TlbState, place => this.#engine.code.tableOf(place));
  }

  /** What follows from the control registers. */
  #derive(): void {
    this.#s.setLo(L.FP_TRAP, fpTrap(this.#s));
  }

  // --- CpuSignals -------------------------------------------------------------------------------------------------------------------------------

  intr(level: boolean): void {
    if (level) this.#post(L.PENDING.intr);
    else this.#s.setLo(L.PENDING_OFFSET, this.#s.int(L.PENDING_OFFSET) & ~L.PENDING.intr);
  }
  nmi(cause: number): void {
    this.units.events.nmiCause = cause;
    this.#post(L.PENDING.nmi);
  }
  smi(cause: number): void {
    this.ctx.trace.emit(EVENT.smi, this.index, 0, 0, 0, cause);
    this.#s.setLo(L.SMI_COUNT, this.#s.int(L.SMI_COUNT) + 1);
  }
  init(cause: number): void {
    this.ctx.trace.emit(EVENT.init, this.index, 0, 0, 0, cause);
    this.#post(L.PENDING.init);
  }
  startup(vector: number, cause: number): void {
    // A processor that does not wait for it ignores a start-up IPI (SDM vol. 3A, 9.4.3); one that is about to take an INIT will wait.
    const waits = this.activity === ACTIVITY.waitForSipi || (this.#s.int(L.PENDING_OFFSET) & L.PENDING.init) !== 0;
    if (!waits) return;
    this.ctx.trace.emit(EVENT.sipi, this.index, vector, 0, 0, cause);
    this.#s.setLo(L.SIPI_VECTOR, vector);
    this.#post(L.PENDING.sipi);
  }

  #post(bits: number): void {
    const s = this.#s;
    s.setLo(L.PENDING_OFFSET, s.int(L.PENDING_OFFSET) | bits);
    if (this.#inside) this.ctx.stop();
  }

  // --- Processor --------------------------------------------------------------------------------------------------------------------------------

  get activity(): Activity {
    const activity = this.#s.int(L.ACTIVITY_OFFSET) as Activity;
    if (activity === ACTIVITY.running || this.#s.int(L.PENDING_OFFSET) === 0) return activity;
    return this.units.events.wakes() ? ACTIVITY.running : activity;
  }

  get deaf(): boolean {
    const { activity } = this;
    if (activity === ACTIVITY.halted) return (this.#s.int(L.FLAG_OTHER) & FLAG.if) === 0;
    return activity === ACTIVITY.waitForSipi;
  }

  get retired(): number {
    return this.#s.f64[(this.#s.base + L.RETIRED) >>> 3]!;
  }

  get progress(): number {
    const s = this.#s;
    return this.#budget - s.int(L.COUNT) - s.int(L.DEBT) - (this.#inside ? 1 : 0);
  }

  stop(): void {
    this.#stopAsked = true;
    this.ctx.stop();
  }

  run(budget: number): number {
    const s = this.#s;
    const deliveries = this.units.delivery.count;
    if (this.onStep !== null) budget = 1;
    this.#engine.enterCpu(this);
    this.mmu.tlb.checkGeneration();
    this.#budget = budget;
    this.#stopAsked = false;
    s.setLo(L.COUNT, budget);
    s.setLo(L.DEBT, 0);
    s.setLo(L.SHADOW_COUNT, budget);
    for (;;) {
      const debt = s.int(L.DEBT);
      if (debt !== 0) {
        s.setLo(L.COUNT, s.int(L.COUNT) + debt);
        s.setLo(L.DEBT, 0);
      }
      if (s.int(L.DEBUG_TRAP) !== 0) s.setLo(L.PENDING_OFFSET, s.int(L.PENDING_OFFSET) | L.PENDING.debugTrap);
      const faulted = this.units.delivery.count !== deliveries;
      const free = s.int(L.PENDING_OFFSET) === 0 || this.#takeEvents();
      if (this.onStep !== null) this.#stepped(this.onStep, faulted);
      if (this.#stopAsked || s.int(L.COUNT) === 0 || s.int(L.ACTIVITY_OFFSET) !== ACTIVITY.running) break;
      // What could not be taken at once costs the time of an instruction.
      if (!free) s.setLo(L.COUNT, s.int(L.COUNT) - 1);
      else if (this.#mustStep()) this.#step();
      else this.#go();
    }
    return this.#finish();
  }

  /** Leaves everything in its saved form and tells how much was retired. */
  #finish(): number {
    const s = this.#s;
    if (s.int(L.SHADOW) !== 0 && !this.#shadowActive()) s.setLo(L.SHADOW, 0);
    s.setArithmetic(s.eflags);
    // What generated code remembers between its instructions depends on what was decoded.
    s.set64(L.RIP_PAGE, 0, 0);
    s.set64(L.EA_TEMP, 0, 0);
    const done = this.#budget - s.int(L.COUNT) - s.int(L.DEBT);
    s.setLo(L.COUNT, 0);
    s.setLo(L.DEBT, 0);
    this.#budget = 0;
    s.f64[(s.base + L.RETIRED) >>> 3] = this.retired + done;
    return done;
  }

  /** At a boundary while a debugger steps. */
  #stepped(tell: (step: Step) => void, faulted: boolean): void {
    const done = faulted || this.#s.int(L.COUNT) === 0;
    const interrupted = this.#interrupted;
    if (!done && interrupted === null) return;
    this.#interrupted = null;
    this.#stopAsked = true;
    tell({ done, interrupted });
  }

  #shadowActive(): boolean {
    const s = this.#s;
    return s.int(L.SHADOW) !== 0 && s.int(L.SHADOW_COUNT) === s.int(L.COUNT) + s.int(L.DEBT);
  }

  /** At an instruction boundary: what waits is taken as far as it may be now. False: there was too much. */
  #takeEvents(): boolean {
    const s = this.#s;
    if (s.int(L.SHADOW) !== 0 && !this.#shadowActive()) s.setLo(L.SHADOW, 0);
    const before = this.units.delivery.count;
    const place = this.onStep === null ? null : { linear: this.linearRip, sp: s.big(L.REG.rsp * 8) };
    const all = this.units.events.take();
    if (this.units.delivery.count !== before) this.#interrupted = place;
    this.#derive();
    return all;
  }

  /** Runs generated code until it comes back. */
  #go(): void {
    this.#inside = true;
    const reason = this.#engine.exports.enter(this.#s.base);
    this.#inside = false;
    this.#left(reason);
  }

  #left(reason: number): void {
    const s = this.#s;
    if (reason === L.EXIT.budget) {
      const record = s.lo(L.RECORD);
      const rip = s.num(L.RIP_PAGE) + s.u16[(record + L.REC.offset) >>> 1]!;
      s.setNum(L.RIP, s.codeMode === MODE.code64 ? rip : rip >>> 0);
    } else if (reason === L.EXIT.lookup) {
      this.#find();
      return;
    } else if (reason === L.EXIT.fault) this.#raise();
    else this.#derive();
    // Only a branch that asks for a lookup may be told its target.
    s.setLo(L.RECORD, 0);
  }

  /** The code at RIP is not decoded, or not known to the code TLB. */
  #find(): void {
    const branch = this.#s.lo(L.RECORD);
    this.#s.setLo(L.RECORD, 0);
    // Events at this boundary, and the end of the run, come before the next instruction's fetch (SDM vol. 3A, table 6-2).
    if (this.#s.int(L.COUNT) === 0) return;
    const { stops } = this.#engine;
    if (stops.armed && stops.hit(this.index, this.linearRip, this.#retiredNow())) {
      this.stop();
      return;
    }
    const found = this.#fetch.find(branch);
    if (found === CODE_FETCH.ready) return;
    if (found === CODE_FETCH.fault) this.#deliverFault(this.#fetch.vector, this.#fetch.error, this.#fetch.address);
    else this.#single(this.#fetch.record);
  }

  /** Runs the one instruction in `record`, which lies outside the tables. */
  #single(record: number): void {
    this.#hold(() => this.#engine.exports.execute(this.#s.base, record));
  }

  /** Lets `run` retire one instruction: the rest of the budget waits in DEBT. */
  #hold(run: () => number): void {
    const s = this.#s;
    const held = s.int(L.COUNT) - 1;
    s.setLo(L.COUNT, 1);
    s.setLo(L.DEBT, s.int(L.DEBT) + held);
    this.#inside = true;
    const reason = run();
    this.#inside = false;
    this.#left(reason);
  }

  /** An instruction at RECORD raised an exception: it did not retire. */
  #raise(): void {
    const s = this.#s;
    s.setLo(L.COUNT, s.int(L.COUNT) + 1);
    const record = s.lo(L.RECORD);
    const rip = s.num(L.RIP_PAGE) + s.u16[(record + L.REC.offset) >>> 1]!;
    s.setNum(L.RIP, s.codeMode === MODE.code64 ? rip : rip >>> 0);
    const fault = this.#fault;
    const found = s.int(L.PAGE_FAULT);
    if (found !== 0) {
      s.setLo(L.PAGE_FAULT, 0);
      fault.vector = EXC.pf;
      fault.error = found - L.PAGE_FAULT_FOUND;
      fault.address = s.num(L.SLOW_ADDRESS);
    }
    this.#deliverFault(fault.vector, fault.error, fault.address);
  }

  #deliverFault(vector: number, error: number, address: number): void {
    this.#countFault();
    if (!this.#deliverDirectly(vector, error, address)) this.units.events.exception(vector, error, address);
    this.#derive();
  }

  /** A fault in 64-bit mode that generated code can deliver. What the handler sees is the same as by {@link Events.exception}. */
  #deliverDirectly(vector: number, error: number, address: number): boolean {
    const s = this.#s;
    if (s.codeMode !== MODE.code64 || vector === EXC.db) return false;
    const cpl = s.int(L.CPL);
    const rip = s.num(L.RIP);
    s.setNum(L.ARG0, rip);
    if (this.ctx.deliver(vector, 0, error, s.eflags | FLAG.rf) === 0) return false;
    if (vector === EXC.pf) s.setNum(L.CR2, address);
    s.setLo(L.DEBUG_TRAP, 0);
    s.setLo(L.PENDING_OFFSET, s.int(L.PENDING_OFFSET) & ~L.PENDING.debugTrap);
    this.#delivered(vector, error, rip, cpl);
    return true;
  }

  /**
   * A handler whose first instruction faults, with that handler again, would go on for ever: time must pass all the same. From some number in a row on,
   * each such exception counts as one instruction.
   */
  #countFault(): void {
    const s = this.#s;
    const last = (s.base + L.LAST_FAULT_AT) >>> 3;
    const now = this.#retiredNow();
    const row = now === s.f64[last] ? s.int(L.FAULTS_IN_A_ROW) + 1 : 0;
    const counts = row >= FREE_FAULTS;
    s.setLo(L.FAULTS_IN_A_ROW, counts ? FREE_FAULTS : row);
    s.f64[last] = counts ? now + 1 : now;
    if (counts) s.setLo(L.COUNT, s.int(L.COUNT) - 1);
  }

  /** Retired since power on, between two instructions. */
  #retiredNow(): number {
    return this.retired + this.#budget - this.#s.int(L.COUNT) - this.#s.int(L.DEBT);
  }

  // --- single steps -----------------------------------------------------------------------------------------------------------------------------

  /** TF, a shadow, or an armed code breakpoint: one instruction at a time. */
  #mustStep(): boolean {
    const s = this.#s;
    if ((s.int(L.FLAG_OTHER) & (FLAG.tf | FLAG.rf)) !== 0) return true;
    if (s.int(L.SHADOW) !== 0 && this.#shadowActive() && s.int(L.PENDING_OFFSET) !== 0) return true;
    return (s.int(L.DR7) & 0xff) !== 0 && this.units.debug.codeArmed;
  }

  #step(): void {
    const s = this.#s;
    const flags = s.int(L.FLAG_OTHER);
    const resume = (flags & FLAG.rf) !== 0;
    if (!resume) {
      const hits = this.units.debug.matchCode(this.linearRip);
      if (hits !== 0) {
        this.#countFault();
        this.units.events.codeBreakpoint(hits);
        return;
      }
    }
    s.setLo(L.FLAG_OTHER, flags & ~FLAG.rf);
    const before = s.int(L.COUNT) + s.int(L.DEBT);
    const { delivery } = this.units;
    const delivered = delivery.count;
    this.#hold(this.#enterOnce);
    const retired = s.int(L.COUNT) + s.int(L.DEBT) < before;
    const interrupted = delivery.count !== delivered;
    if ((flags & FLAG.tf) !== 0 && retired && !interrupted) s.setLo(L.DEBUG_TRAP, s.int(L.DEBUG_TRAP) | 0x4000);
    // Nothing ran (the code had to be found first): the resume flag still counts.
    if (resume && !retired && !interrupted) s.setLo(L.FLAG_OTHER, s.int(L.FLAG_OTHER) | FLAG.rf);
  }
  readonly #enterOnce = (): number => this.#engine.exports.enter(this.#s.base);

  /** Linear address of the next instruction. */
  get linearRip(): number {
    const s = this.#s;
    const rip = s.num(L.RIP);
    return s.codeMode === MODE.code64 ? rip : (rip + s.segBase(L.SEG.cs)) >>> 0;
  }

  /** The debugger's stops, which all processors of the machine share. */
  get stops(): DebugStops {
    return this.#engine.stops;
  }

  // --- used by the engine -----------------------------------------------------------------------------------------------------------------------

  /** Keeps the fault that the memory management unit found. */
  noteMmuFault(): number {
    this.#fault.vector = this.mmu.faultVector;
    this.#fault.error = this.mmu.faultError;
    this.#fault.address = this.mmu.faultAddress;
    return 1;
  }

  /** Keeps a fault that a helper raised. */
  noteFault(fault: GuestFault): number {
    this.#fault.vector = fault.vector;
    this.#fault.error = fault.error;
    this.#fault.address = fault.address;
    return L.EXIT.fault;
  }

  /** Generated code delivered an interrupt or a page fault or returned from a handler by itself. */
  told(event: number, value: number, cplBefore: number): void {
    const { trace, index } = this.ctx;
    if (event === EVENT.exception) {
      this.#toldFault(value, cplBefore);
      return;
    }
    this.mmu.tlb.selectBank();
    if (event === EVENT.softwareInterrupt) this.units.delivery.count++;
    const cpl = this.#s.int(L.CPL);
    if (cpl !== cplBefore && trace.wants[EVENT.cpl] !== 0) trace.emit(EVENT.cpl, index, cpl, 0, 0, 0);
    if (trace.wants[event] !== 0) trace.emit(event, index, value, 0, 0, 0);
  }

  /** Generated code delivered a #PF. The instruction did not retire, so the present instant is that of the boundary before it. */
  #toldFault(error: number, cplBefore: number): void {
    this.#inside = false;
    this.#countFault();
    this.#delivered(EXC.pf, error, this.#s.num(L.ARG0), cplBefore);
    this.#inside = true;
    if (this.onStep !== null) this.ctx.stop();
  }

  /** Behind a fault's delivery in generated code. */
  #delivered(vector: number, error: number, rip: number, cplBefore: number): void {
    this.units.delivery.count++;
    const { trace, index } = this.ctx;
    if (trace.wants[EVENT.exception] !== 0) trace.emit(EVENT.exception, index, vector, error, rip, 0);
    const cpl = this.#s.int(L.CPL);
    if (cpl !== cplBefore && trace.wants[EVENT.cpl] !== 0) trace.emit(EVENT.cpl, index, cpl, 0, 0, 0);
    this.mmu.tlb.selectBank();
  }

  /** Writes a port; 1 when the map of physical memory changed by it. */
  portOut(port: number, width: number, value: number): number {
    const unsigned = width === 4 ? value >>> 0 : width === 2 ? value & 0xffff : value & 0xff;
    this.ctx.bus.portWrite(port, width, unsigned);
    return this.mmu.tlb.checkGeneration() ? 1 : 0;
  }

  /** 1 when the page at SLOW_ADDRESS is RAM or ROM (or faults, which the access itself will show), 0 when it is a device. */
  probeRam(segment: number, _size: number): number {
    const s = this.#s;
    const low = s.lo(L.SLOW_ADDRESS);
    const linear = s.codeMode === MODE.code64 ? s.num(L.SLOW_ADDRESS) : (s.num(L.SEG_BASE + segment * 8) + low) >>> 0;
    if (Math.abs(linear) > 0x800000000000) return 1;
    if (!this.mmu.translate(linear, ACCESS.read, s.cpl === 3)) return 1;
    const page = Math.floor(this.mmu.physical / PAGE);
    if (page === this.ctx.apic.mmioPage) return 0;
    return this.ctx.bus.lookup(page) <= PAGE_KIND.rom ? 1 : 0;
  }

  /** An SSE operation that needs exact flags: works on SCRATCH. Bit 0: #XM (or #UD) is prepared. Bits 15:8: EFLAGS of a comparison. */
  sseSlow(operation: number, immediate: number): number {
    const s = this.#s;
    const scratch = s.base + L.SCRATCH;
    const status = sseOp(operation, s.view, scratch, scratch + 16, immediate, s.base + L.MXCSR);
    if ((status & 1) === 0) return status;
    this.#fault.vector = (s.lo(L.CR4) & 0x400) !== 0 ? EXC.xm : EXC.ud;
    this.#fault.error = -1;
    return 1;
  }
}
