/**
 * A local APIC, xAPIC and x2APIC. Document: Intel SDM vol. 3A, chapter "Advanced Programmable Interrupt Controller (APIC)".
 *
 * Decisions where the manual leaves room:
 * - An ExtINT that waits is acknowledged before a vector in IRR. A request by LINT and one by message are both met by one acknowledge.
 * - ICR: de-assert of INIT does nothing (not supported since Pentium 4); the trigger bit of all else is ignored; self and all-including-self take
 *   fixed, SMI and NMI, other modes are not sent; reserved delivery modes are not sent.
 * - An illegal vector in an LVT entry is an error when the entry fires, not when it is written ("may signal").
 * - Writes narrower than 32 bits and accesses beside the first four bytes of a register do nothing and read 0.
 * - The xAPIC ID register is writable; re-enabling a globally disabled APIC finds it as after power-up.
 * - LINT1 is edge-sensitive whatever its trigger bit says ("level-sensitive interrupts are not supported for LINT1").
 *
 * Not modelled: remote read, focus processor checking, the serial bus (send/receive checksum and accept errors), bus delays (delivery status reads idle,
 * except of a LINT pin whose ExtINT waits).
 */
import type { Vector } from "../base/units.ts";
import type { LocalApicPort } from "../ports/cpu-port.ts";
import { EVENT } from "../ports/events.ts";
import { DELIVERY, InterruptMessage, SHORTHAND } from "../ports/message.ts";
import {
  ACCESS,
  APIC_BASE,
  ESR,
  ICR,
  LAPIC_ACCESS,
  LAPIC_REG,
  LAPIC_VERSION,
  LVT,
  LVT_COUNT,
  LVT_ENTRY,
  LVT_WRITABLE,
  MSR_APIC_BASE,
  MSR_TSC_DEADLINE,
  MSR_X2APIC,
  TIMER_MODE,
  X2APIC_RESERVED,
} from "./lapic.regs.ts";
import { LapicCore } from "./lapic-core.ts";

export class LocalApic extends LapicCore implements LocalApicPort {
  msrLow = 0;
  msrHigh = 0;
  readonly #message = new InterruptMessage();

  // --- xAPIC page ----------------------------------------------------------------------------------------------------------------------------------

  read(offset: number, size: number): number {
    const reg = offset >>> 4;
    if (reg >= 64 || (LAPIC_ACCESS[reg]! & ACCESS.xapic) === 0) {
      this.error(ESR.illegalRegister.mask, 0);
      return 0;
    }
    if ((offset & 15) >= 4) return 0;
    const value = this.#readRegister(reg) >>> ((offset & 3) * 8);
    return size === 4 ? value : size === 2 ? value & 0xffff : value & 0xff;
  }

  write(offset: number, size: number, value: number): void {
    const reg = offset >>> 4;
    if (reg >= 64 || (LAPIC_ACCESS[reg]! & ACCESS.xapic) === 0) this.error(ESR.illegalRegister.mask, 0);
    else if (size === 4 && (offset & 15) === 0) this.#writeRegister(reg, value);
  }

  /** Arbitration priority register: same chapter, "Arbitration Priority" of the P6 family. */
  #apr(): number {
    const { tpr } = this.state;
    const irrv = Math.max(this.bank.irrMax, 0);
    const isrv = Math.max(this.bank.isrMax, 0);
    if (tpr >> 4 >= irrv >> 4 && tpr >> 4 > isrv >> 4) return tpr;
    return Math.max(tpr & 0xf0, isrv & 0xf0, irrv & 0xf0);
  }

  #readRegister(reg: number): number {
    const s = this.state;
    switch (reg) {
      case LAPIC_REG.ID:
        return this.x2apic ? this.options.apicId : (s.id << 24) >>> 0;
      case LAPIC_REG.VERSION:
        return LAPIC_VERSION;
      case LAPIC_REG.TPR:
        return s.tpr;
      case LAPIC_REG.APR:
        return this.#apr();
      case LAPIC_REG.PPR:
        return this.ppr();
      case LAPIC_REG.LDR:
        return this.ldr;
      case LAPIC_REG.DFR:
        return s.dfr;
      case LAPIC_REG.SVR:
        return s.svr;
      case LAPIC_REG.ESR:
        return s.esr;
      case LAPIC_REG.ICR:
        return s.icrLow;
      case LAPIC_REG.ICR_HIGH:
        return s.icrHigh;
      case LAPIC_REG.INITIAL_COUNT:
        return s.timer.initial;
      case LAPIC_REG.CURRENT_COUNT:
        return this.timer.current();
      case LAPIC_REG.DIVIDE:
        return s.timer.divide;
      default:
        return this.#readArray(reg);
    }
  }

  #readArray(reg: number): number {
    const s = this.state;
    if (reg >= LAPIC_REG.ISR && reg < LAPIC_REG.ISR + 8) return s.bank.isr[reg - LAPIC_REG.ISR]!;
    if (reg >= LAPIC_REG.TMR && reg < LAPIC_REG.TMR + 8) return s.bank.tmr[reg - LAPIC_REG.TMR]!;
    if (reg >= LAPIC_REG.IRR && reg < LAPIC_REG.IRR + 8) return s.bank.irr[reg - LAPIC_REG.IRR]!;
    const entry = lvtOf(reg);
    if (entry < 0) return 0; // EOI is write-only, remote read is absent
    const waits = entry >= LVT.lint0 && entry <= LVT.lint1 && this.lintExtInt(entry - LVT.lint0);
    return (s.lvt[entry]! | (waits ? LVT_ENTRY.deliveryStatus.mask : 0)) >>> 0;
  }

  #writeRegister(reg: number, value: number): void {
    const s = this.state;
    switch (reg) {
      case LAPIC_REG.EOI:
        this.eoi();
        break;
      case LAPIC_REG.INITIAL_COUNT:
        this.timer.setInitial(value);
        break;
      case LAPIC_REG.TPR:
        s.tpr = value & 0xff;
        this.sync();
        break;
      case LAPIC_REG.ICR:
        s.icrLow = value & ICR_WRITABLE;
        this.#sendIpi();
        break;
      case LAPIC_REG.ICR_HIGH:
        s.icrHigh = (value & 0xff00_0000) >>> 0;
        break;
      case LAPIC_REG.ID:
        s.id = value >>> 24;
        this.bus.membersChanged();
        break;
      case LAPIC_REG.LDR:
        s.ldr = (value & 0xff00_0000) >>> 0;
        break;
      case LAPIC_REG.DFR:
        s.dfr = (value | 0x0fff_ffff) >>> 0;
        break;
      case LAPIC_REG.SVR:
        s.svr = value & 0x13ff;
        if (!this.softwareEnabled) this.#maskAll();
        break;
      case LAPIC_REG.ESR:
        s.esr = s.errors;
        s.errors = 0;
        break;
      case LAPIC_REG.DIVIDE:
        this.timer.setDivide(value);
        break;
      default: {
        const entry = lvtOf(reg);
        if (entry >= 0) this.#writeLvt(entry, value);
      }
    }
  }

  /** While the APIC is software-disabled all mask bits are set and stay set. */
  #maskAll(): void {
    for (let i = 0; i < LVT_COUNT; i++) this.state.lvt[i]! |= LVT_ENTRY.mask.mask;
    this.extIntPin = this.extIntAsked();
    this.sync();
  }

  #writeLvt(entry: number, value: number): void {
    const { lvt } = this.state;
    let written = (value & LVT_WRITABLE[entry]!) | (lvt[entry]! & LVT_ENTRY.remoteIrr.mask);
    if (!this.softwareEnabled) written |= LVT_ENTRY.mask.mask;
    if (entry === LVT.timer) {
      if (this.options.tscDeadline === false) written &= ~(TIMER_MODE.tscDeadline << LVT_ENTRY.timerMode.shift);
      this.timer.setMode(LVT_ENTRY.timerMode.of(written));
    }
    if (!LVT_ENTRY.trigger.on(written)) written &= ~LVT_ENTRY.remoteIrr.mask;
    lvt[entry] = written;
    if (entry === LVT.lint0) this.serviceLevelLint0(0);
    if (entry === LVT.lint0 || entry === LVT.lint1) {
      this.extIntPin = this.extIntAsked();
      this.sync();
    }
  }

  readCr8(): number {
    return this.state.tpr >> 4;
  }

  writeCr8(value: number): void {
    this.state.tpr = (value & 15) << 4;
    this.sync();
  }

  // --- interprocessor interrupts -------------------------------------------------------------------------------------------------------------------

  /** Sends what ICR says. */
  #sendIpi(): void {
    const { icrLow, icrHigh } = this.state;
    const mode = ICR.deliveryMode.of(icrLow);
    const vector = icrLow & 0xff;
    const shorthand = ICR.shorthand.of(icrLow);
    const checked = mode === DELIVERY.fixed || mode === DELIVERY.lowest;
    if (mode === DELIVERY.lowest && this.options.lowestPriorityIpi === false) {
      this.error(ESR.redirectableIpi.mask, 0);
      return;
    }
    if (checked && vector < 16) {
      this.error(ESR.sendIllegalVector.mask, 0);
      return;
    }
    const toSelf = shorthand === SHORTHAND.self || shorthand === SHORTHAND.all;
    if (toSelf && mode !== DELIVERY.fixed && mode !== DELIVERY.smi && mode !== DELIVERY.nmi) return;
    if (mode === DELIVERY.remoteRead || mode === DELIVERY.extInt) return;
    if (mode === DELIVERY.init && ICR.trigger.on(icrLow) && !ICR.level.on(icrLow)) return;
    const message = this.#message;
    message.vector = vector;
    message.deliveryMode = mode;
    message.destinationMode = ICR.destinationMode.of(icrLow);
    message.wide = this.x2apic;
    message.destination = this.x2apic ? icrHigh : icrHigh >>> 24;
    message.cause = 0;
    if (this.trace !== null) {
      const shown = shorthand === SHORTHAND.none ? message.destination : 0xffff_ffff;
      const destination = shorthand === SHORTHAND.self ? this.apicId : shown;
      message.cause = this.trace.emit(EVENT.ipiSend, this.index, vector, mode, destination, 0);
    }
    this.bus.sendIpi(this.index, shorthand, message);
  }

  /** SELF IPI register: always edge and fixed. */
  #selfIpi(vector: Vector): void {
    if (vector < 16) {
      this.error(ESR.sendIllegalVector.mask, 0);
      return;
    }
    const cause =
      this.trace === null ? 0 : this.trace.emit(EVENT.ipiSend, this.index, vector, DELIVERY.fixed, this.apicId, 0);
    this.request(vector, false, cause);
  }

  // --- MSRs ----------------------------------------------------------------------------------------------------------------------------------------

  readMsr(index: number): boolean {
    this.msrHigh = 0;
    if (index === MSR_APIC_BASE) {
      this.msrLow = this.state.baseLow;
      this.msrHigh = this.state.baseHigh;
      return true;
    }
    if (index === MSR_TSC_DEADLINE) {
      this.msrLow = this.state.timer.tscLow;
      this.msrHigh = this.state.timer.tscHigh;
      return this.options.tscDeadline !== false;
    }
    const reg = index - MSR_X2APIC;
    if (!this.x2apic || reg < 0 || reg >= 64 || (LAPIC_ACCESS[reg]! & ACCESS.x2apicRead) === 0) return false;
    this.msrLow = this.#readRegister(reg);
    if (reg === LAPIC_REG.ICR) this.msrHigh = this.state.icrHigh;
    return true;
  }

  writeMsr(index: number, low: number, high: number): boolean {
    if (index === MSR_APIC_BASE) return this.#writeBase(low, high);
    if (index === MSR_TSC_DEADLINE) {
      if (this.options.tscDeadline === false) return false;
      this.timer.writeTscDeadline(low, high);
      return true;
    }
    const reg = index - MSR_X2APIC;
    if (!this.x2apic || reg < 0 || reg >= 64 || (LAPIC_ACCESS[reg]! & ACCESS.x2apicWrite) === 0) return false;
    if ((low & X2APIC_RESERVED[reg]!) !== 0) return false;
    if (reg === LAPIC_REG.LVT_TIMER && this.options.tscDeadline === false && (low & 0x4_0000) !== 0) return false;
    if (reg === LAPIC_REG.ICR) {
      this.state.icrHigh = high;
      this.#writeRegister(reg, low);
      return true;
    }
    if (high !== 0) return false;
    if (reg === LAPIC_REG.SELF_IPI) this.#selfIpi(low);
    else this.#writeRegister(reg, low);
    return true;
  }

  /** SDM "x2APIC State Transitions": from disabled only to xAPIC, from x2APIC only to disabled; EXTD without EN is invalid. */
  #writeBase(low: number, high: number): boolean {
    const s = this.state;
    const bits = this.options.physicalAddressBits ?? 40;
    const extd = APIC_BASE.extd.on(low);
    const enable = APIC_BASE.enable.on(low);
    if ((low & 0x2ff) !== 0 || high >= 2 ** (bits - 32)) return false;
    if (extd && (this.options.x2apic === false || !enable || !this.globallyEnabled)) return false;
    if (this.x2apic && enable && !extd) return false;
    s.baseLow = low;
    s.baseHigh = high;
    if (!enable && this.globallyEnabled) {
      this.clearRegisters();
      s.id = this.options.apicId;
    }
    this.derive();
    this.bus.membersChanged();
    this.sync();
    return true;
  }
}

/** Writable bits of the ICR's lower word. */
const ICR_WRITABLE = 0x000c_cfff;

/** LVT index of a register number, −1 for another register. */
function lvtOf(reg: number): number {
  if (reg === LAPIC_REG.LVT_CMCI) return LVT.cmci;
  return reg >= LAPIC_REG.LVT_TIMER && reg <= LAPIC_REG.LVT_ERROR ? reg - LAPIC_REG.LVT_TIMER + LVT.timer : -1;
}
