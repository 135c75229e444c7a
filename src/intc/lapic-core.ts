/**
 * The interrupt logic of a local APIC: what it accepts, offers and ends, its local sources and its priorities. What software sees of it, the registers
 * and MSRs, is in lapic.ts, and so is the list of decisions. Document: Intel SDM vol. 3A, chapter "Advanced Programmable Interrupt Controller (APIC)".
 */
import type { ApicId, CauseId, Vector } from "../base/units.ts";
import type { CpuSignals, IntAck, InterruptPort, TimestampCounter } from "../ports/cpu-port.ts";
import { EVENT } from "../ports/events.ts";
import type { LineSink } from "../ports/line.ts";
import { DELIVERY } from "../ports/message.ts";
import type { Part, ResetPhase } from "../ports/part.ts";
import type { EventQueue } from "../sim/event-queue.ts";
import type { Trace } from "../sim/trace.ts";
import type { ApicBus } from "./apic-bus.ts";
import { APIC_BASE, APIC_BASE_RESET, ESR, LVT, LVT_COUNT, LVT_ENTRY, SVR } from "./lapic.regs.ts";
import { type BankState, LapicBank } from "./lapic-bank.ts";
import { LapicTimer, type LapicTimerState, type TimerOwner } from "./lapic-timer.ts";

/** What the board gives a local APIC. */
export type LapicOptions = {
  readonly index: number;
  /** Initial (x2)APIC id. */
  readonly apicId: ApicId;
  readonly bsp: boolean;
  readonly queue: EventQueue;
  readonly trace: Trace | null;
  readonly signals: CpuSignals;
  readonly tsc: TimestampCounter;
  readonly bus: ApicBus;
  /** Where an ExtINT is acknowledged: the 8259 pair. */
  readonly extInt: IntAck;
  /** MAXPHYADDR, for the reserved bits of IA32_APIC_BASE; 40 by default. */
  readonly physicalAddressBits?: number;
  /** CPUID.1:ECX[21] and [24]; both true by default. */
  readonly x2apic?: boolean;
  readonly tscDeadline?: boolean;
  /** False: sending a lowest-priority IPI is the "redirectable IPI" error. True by default. */
  readonly lowestPriorityIpi?: boolean;
};

export type LapicState = {
  id: ApicId;
  baseLow: number;
  baseHigh: number;
  tpr: number;
  ldr: number;
  dfr: number;
  svr: number;
  /** ESR as software reads it, and the errors since it was last written. */
  esr: number;
  errors: number;
  icrLow: number;
  icrHigh: number;
  lvt: Uint32Array;
  /** Levels of the LINT pins, bits 0 and 1. */
  lint: number;
  /** An ExtINT message waits for its acknowledge. */
  extInt: boolean;
  /** Output INTR. */
  intr: boolean;
  bank: BankState;
  timer: LapicTimerState;
};

const MASK = LVT_ENTRY.mask.mask;

export class LapicCore implements InterruptPort, Part, LineSink, TimerOwner {
  readonly name: string;
  readonly index: number;
  readonly state: LapicState;

  /** Physical page number of the register page, -1 while it does not decode; derived from IA32_APIC_BASE, as are the two below. */
  mmioPage = -1;
  globallyEnabled = false;
  x2apic = false;

  lastExtInt = false;
  lastSpurious = false;
  lastCause: CauseId = 0;

  protected readonly options: LapicOptions;
  protected readonly trace: Trace | null;
  readonly #signals: CpuSignals;
  protected readonly bus: ApicBus;
  protected readonly bank = new LapicBank();
  protected readonly timer: LapicTimer;
  /** Why each vector was requested; observation only. */
  readonly #causes = new Float64Array(256);
  /** A LINT pin, or the disabled APIC's INTR input, asks for an ExtINT acknowledge. Derived. */
  protected extIntPin = false;

  constructor(options: LapicOptions) {
    this.options = options;
    this.index = options.index;
    this.name = `lapic${options.index}`;
    this.trace = options.trace;
    this.#signals = options.signals;
    this.bus = options.bus;
    this.timer = new LapicTimer(options.queue, `${this.name}.timer`, options.tsc, this);
    this.state = {
      id: options.apicId,
      baseLow: 0,
      baseHigh: 0,
      tpr: 0,
      ldr: 0,
      dfr: 0xffff_ffff,
      svr: 0xff,
      esr: 0,
      errors: 0,
      icrLow: 0,
      icrHigh: 0,
      lvt: new Uint32Array(LVT_COUNT).fill(MASK),
      lint: 0,
      extInt: false,
      intr: false,
      bank: this.bank.state,
      timer: this.timer.state,
    };
    this.#setBase();
    this.derive();
  }

  // --- reset and state -----------------------------------------------------------------------------------------------------------------------------

  /** Power-up and platform reset are the same for a local APIC. */
  reset(phase: ResetPhase): void {
    if (phase === "enter") {
      this.state.id = this.options.apicId;
      this.clearRegisters();
      this.#setBase();
      this.derive();
      this.lastExtInt = this.lastSpurious = false;
    } else if (phase === "hold") {
      this.bus.membersChanged();
      this.sync();
    }
  }

  /** SDM "Local APIC State After an INIT Reset": as after power-up, but the id and IA32_APIC_BASE stay. */
  initReset(): void {
    this.clearRegisters();
    this.derive();
    this.bus.membersChanged();
    this.sync();
  }

  restored(): void {
    this.bank.restored();
    this.derive();
    this.bus.membersChanged();
  }

  #setBase(): void {
    this.state.baseLow = (APIC_BASE_RESET | (this.options.bsp ? APIC_BASE.bsp.mask : 0)) >>> 0;
    this.state.baseHigh = 0;
  }

  protected clearRegisters(): void {
    const s = this.state;
    s.tpr = s.ldr = s.esr = s.errors = s.icrLow = s.icrHigh = 0;
    s.dfr = 0xffff_ffff;
    s.svr = 0xff;
    s.lvt.fill(MASK);
    s.extInt = false;
    this.bank.clear();
    this.timer.reset();
  }

  protected derive(): void {
    const { baseLow, baseHigh } = this.state;
    this.globallyEnabled = APIC_BASE.enable.on(baseLow);
    this.x2apic = APIC_BASE.extd.on(baseLow);
    this.mmioPage = this.globallyEnabled && !this.x2apic ? baseHigh * 0x100000 + (baseLow >>> 12) : -1;
    this.extIntPin = this.extIntAsked();
  }

  // --- identity ------------------------------------------------------------------------------------------------------------------------------------

  /** The id that physical destinations are compared with. */
  get apicId(): ApicId {
    return this.x2apic ? this.options.apicId : this.state.id & 0xff;
  }

  get bsp(): boolean {
    return APIC_BASE.bsp.on(this.state.baseLow);
  }

  get softwareEnabled(): boolean {
    return SVR.enable.on(this.state.svr);
  }

  /** LDR as read: in x2APIC mode derived from the id ("Deriving Logical x2APIC ID from the Local x2APIC ID"). */
  get ldr(): number {
    if (!this.x2apic) return this.state.ldr;
    const id = this.options.apicId;
    return (((id >>> 4) << 16) | (1 << (id & 15))) >>> 0;
  }

  /** SDM "Logical Destination Mode" and "Logical Destination Mode in x2APIC Mode". `wide`: 32-bit destination. */
  matchesLogical(destination: number, wide: boolean): boolean {
    if (destination === (wide ? 0xffff_ffff : 0xff)) return true;
    const ldr = this.ldr;
    if (this.x2apic) return ldr >>> 16 === destination >>> 16 && (ldr & destination & 0xffff) !== 0;
    if (destination > 0xff) return false;
    const model = this.state.dfr >>> 28;
    const own = ldr >>> 24;
    if (model === 0xf) return (own & destination) !== 0;
    return model === 0 && own >>> 4 === destination >>> 4 && (own & destination & 0xf) !== 0;
  }

  /** What lowest-priority arbitration compares. */
  get arbitrationPriority(): number {
    return this.ppr();
  }

  // --- acceptance, acknowledge, EOI ----------------------------------------------------------------------------------------------------------------

  /** A message of the fabric. True when it was accepted. */
  receive(mode: number, vector: Vector, level: boolean, cause: CauseId): boolean {
    switch (mode) {
      case DELIVERY.fixed:
      case DELIVERY.lowest:
        return this.request(vector, level, cause);
      case DELIVERY.smi:
        this.#signals.smi(cause);
        return true;
      case DELIVERY.nmi:
        this.#signals.nmi(cause);
        return true;
      case DELIVERY.init:
        this.#signals.init(cause);
        return true;
      case DELIVERY.startup:
        this.#signals.startup(vector, cause);
        return true;
      case DELIVERY.extInt:
        if (!this.softwareEnabled) return false;
        this.state.extInt = true;
        this.sync();
        return true;
      default:
        return false;
    }
  }

  /** SDM "Local APIC State After It Has Been Software Disabled": only INIT, NMI, SMI and SIPI are answered then. */
  protected request(vector: Vector, level: boolean, cause: CauseId): boolean {
    if (!this.softwareEnabled) return false;
    if (vector < 16) {
      this.error(ESR.receiveIllegalVector.mask, cause);
      return false;
    }
    const coalesced = this.bank.request(vector, level);
    if (this.trace !== null) {
      cause = this.trace.emit(EVENT.lapicAccept, this.index, vector, level ? 1 : 0, coalesced ? 1 : 0, cause);
    }
    if (!coalesced) this.#causes[vector] = cause;
    this.sync();
    return true;
  }

  acknowledge(): Vector {
    if (this.extIntPin || this.state.extInt) return this.#acknowledgeExtInt();
    this.lastExtInt = false;
    const bank = this.bank;
    if (bank.irrMax >> 4 <= this.ppr() >> 4) {
      this.lastSpurious = true;
      this.lastCause = 0;
      this.sync();
      return this.state.svr & 0xff;
    }
    const vector = bank.take();
    this.lastSpurious = false;
    this.lastCause = this.#causes[vector]!;
    this.sync();
    return vector;
  }

  #acknowledgeExtInt(): Vector {
    const { extInt } = this.options;
    this.state.extInt = false;
    const vector = extInt.acknowledge();
    this.lastExtInt = true;
    this.lastSpurious = extInt.lastSpurious;
    this.lastCause = extInt.lastCause;
    this.sync();
    return vector;
  }

  /** SDM "Signaling Interrupt Servicing Completion". */
  eoi(): void {
    const bank = this.bank;
    const vector = bank.end();
    let cause = vector < 0 ? 0 : this.#causes[vector]!;
    if (this.trace !== null) cause = this.trace.emit(EVENT.lapicEoi, this.index, vector, 0, 0, cause);
    if (vector < 0) return;
    if (bank.isLevel(vector)) {
      if (!SVR.suppressEoiBroadcast.on(this.state.svr)) this.bus.broadcastEoi(vector, cause);
      const lint0 = this.state.lvt[LVT.lint0]!;
      if (LVT_ENTRY.remoteIrr.on(lint0) && (lint0 & 0xff) === vector) {
        this.state.lvt[LVT.lint0] = lint0 & ~LVT_ENTRY.remoteIrr.mask;
        this.serviceLevelLint0(cause);
      }
    }
    this.sync();
  }

  /** Processor priority: SDM "Task and Processor Priorities". */
  protected ppr(): number {
    const { tpr } = this.state;
    const { isrMax } = this.bank;
    return tpr >> 4 >= isrMax >> 4 ? tpr : isrMax & 0xf0;
  }

  /** Drives INTR: an ExtINT waits, or the highest request is of a class above the processor's priority. */
  protected sync(): void {
    const level = this.extIntPin || this.state.extInt || this.bank.irrMax >> 4 > this.ppr() >> 4;
    if (level === this.state.intr) return;
    this.state.intr = level;
    this.#signals.intr(level);
  }

  // --- local sources -------------------------------------------------------------------------------------------------------------------------------

  /** LINT pin 0 or 1. While the APIC is globally disabled they are INTR and NMI. */
  lineChanged(pin: number, level: boolean, cause: CauseId): void {
    const s = this.state;
    const was = this.#lintActive(pin);
    if (level) s.lint |= 1 << pin;
    else s.lint &= ~(1 << pin);
    const rises = !was && this.#lintActive(pin);
    if (!this.globallyEnabled) {
      if (pin === 1 && rises) this.#signals.nmi(cause);
    } else if (pin === 0 && LVT_ENTRY.trigger.on(s.lvt[LVT.lint0]!) && this.#lvtMode(LVT.lint0) === DELIVERY.fixed) {
      this.serviceLevelLint0(cause);
    } else if (rises) this.fireLocal(LVT.lint0 + pin, cause);
    this.extIntPin = this.extIntAsked();
    this.sync();
  }

  lineRestored(pin: number, level: boolean): void {
    if (level) this.state.lint |= 1 << pin;
    else this.state.lint &= ~(1 << pin);
    this.extIntPin = this.extIntAsked();
  }

  timerExpired(): void {
    this.fireLocal(LVT.timer, 0);
  }

  /** The TSC was written or its offset changed. */
  tscChanged(): void {
    this.timer.tscChanged();
  }

  /** A local source (index as in {@link LVT}) asks; a masked entry loses it. */
  fireLocal(entry: number, cause: CauseId): void {
    const { lvt } = this.state;
    const value = lvt[entry]!;
    if ((value & MASK) !== 0) return;
    const mode = this.#lvtMode(entry);
    const vector = value & 0xff;
    if (this.trace !== null) cause = this.trace.emit(EVENT.lvtFire, this.index, entry, vector, mode, cause);
    // SDM "Performance Monitoring Overview" and "Local Vector Table": the entry masks itself when it delivers.
    if (entry === LVT.perf) lvt[entry] = value | MASK;
    if (mode === DELIVERY.fixed) this.request(vector, false, cause);
    else if (mode === DELIVERY.smi) this.#signals.smi(cause);
    else if (mode === DELIVERY.nmi) this.#signals.nmi(cause);
    else if (mode === DELIVERY.init && entry >= LVT.lint0) this.#signals.init(cause);
  }

  /** Timer and error entries have no delivery mode: they are fixed. */
  #lvtMode(entry: number): number {
    return entry === LVT.timer || entry === LVT.error ? DELIVERY.fixed : (this.state.lvt[entry]! >>> 8) & 7;
  }

  #lintActive(pin: number): boolean {
    const low = this.globallyEnabled && LVT_ENTRY.polarity.on(this.state.lvt[LVT.lint0 + pin]!);
    return ((this.state.lint >>> pin) & 1) !== (low ? 1 : 0);
  }

  protected lintExtInt(pin: number): boolean {
    const entry = LVT.lint0 + pin;
    const masked = (this.state.lvt[entry]! & MASK) !== 0;
    return !masked && this.#lvtMode(entry) === DELIVERY.extInt && this.#lintActive(pin);
  }

  protected extIntAsked(): boolean {
    if (!this.globallyEnabled) return (this.state.lint & 1) !== 0;
    return this.lintExtInt(0) || this.lintExtInt(1);
  }

  /** Level-triggered fixed LINT0: asks while it is active, unmasked and not in service. */
  protected serviceLevelLint0(cause: CauseId): void {
    const { lvt } = this.state;
    const value = lvt[LVT.lint0]!;
    const level = LVT_ENTRY.trigger.on(value) && this.#lvtMode(LVT.lint0) === DELIVERY.fixed;
    if (!level || (value & MASK) !== 0 || LVT_ENTRY.remoteIrr.on(value) || !this.#lintActive(0)) return;
    if (this.trace !== null) cause = this.trace.emit(EVENT.lvtFire, this.index, LVT.lint0, value & 0xff, 0, cause);
    if (this.request(value & 0xff, true, cause)) lvt[LVT.lint0] = value | LVT_ENTRY.remoteIrr.mask;
  }

  /** Records an error; the first one since ESR was last written fires the LVT error entry (SDM "Error Handling"). */
  protected error(bit: number, cause: CauseId): void {
    const first = this.state.errors === 0;
    this.state.errors |= bit;
    if (this.trace !== null) cause = this.trace.emit(EVENT.lapicError, this.index, bit, 0, 0, cause);
    if (first) this.fireLocal(LVT.error, cause);
  }
}
