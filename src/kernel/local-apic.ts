/**
 * Driver of the local APIC, by its page or, in x2APIC mode, by MSRs. Intel SDM vol. 3A, chapter "Advanced Programmable Interrupt Controller (APIC)".
 */
import type { ApicId, Ns, PhysAddr, Vector } from "../base/units.ts";
import { ICR, LAPIC_REG, LVT_ENTRY, MSR_APIC_BASE, MSR_X2APIC, SVR, TIMER_MODE } from "../intc/lapic.regs.ts";
import { DELIVERY, SHORTHAND } from "../ports/message.ts";
import { compute, load32, readMsr, type Request, store32, type Task, writeMsr } from "../ports/task.ts";

export const LAPIC_PAGE: PhysAddr = 0xfee00000;
const BASE_X2APIC = 0xfee00c00;
const BASE_BSP = 0x100;
/** Divide configuration: by 1 (figure "Divide Configuration Register"). */
const DIVIDE_BY_1 = 0xb;
const FLAT_MODEL = 0xffffffff;

export class LocalApicDriver {
  /** By MSRs instead of the page. */
  readonly x2apic: boolean;

  constructor(x2apic = false) {
    this.x2apic = x2apic;
  }

  /** A register of 32 bits. */
  read(register: number): Request {
    return this.x2apic ? readMsr(MSR_X2APIC + register) : load32(LAPIC_PAGE + register * 16);
  }

  write(register: number, value: number): Request {
    return this.x2apic ? writeMsr(MSR_X2APIC + register, value) : store32(LAPIC_PAGE + register * 16, value);
  }

  /** Switches the present CPU's APIC on, with all priorities let through. */
  *enable(spurious: Vector): Task {
    if (this.x2apic) {
      const base = yield* readMsr(MSR_APIC_BASE);
      yield* writeMsr(MSR_APIC_BASE, BASE_X2APIC | (base & BASE_BSP));
    }
    yield* this.write(LAPIC_REG.SVR, SVR.enable.put(spurious, 1));
    yield* this.setTaskPriority(0);
  }

  /** The document's `send_eoi`. The hardware clears the highest in-service bit by it. */
  endOfInterrupt(): Request {
    return this.write(LAPIC_REG.EOI, 0);
  }

  /** Vectors of classes up to `priority` >> 4 wait. */
  setTaskPriority(priority: number): Request {
    return this.write(LAPIC_REG.TPR, priority);
  }

  *id(): Task<ApicId> {
    const id = yield* this.read(LAPIC_REG.ID);
    return this.x2apic ? id : id >>> 24;
  }

  /** Bit `bit` of the logical destinations of flat model (xAPIC, up to 8 CPUs). */
  *setLogicalId(bit: number): Task {
    yield* this.write(LAPIC_REG.DFR, FLAT_MODEL);
    yield* this.write(LAPIC_REG.LDR, (1 << (24 + bit)) >>> 0);
  }

  /** Whether `vector` is in service: some handler of it has not sent its EOI. */
  *inService(vector: Vector): Task<boolean> {
    return (((yield* this.read(LAPIC_REG.ISR + (vector >> 5))) >>> (vector & 31)) & 1) !== 0;
  }

  /** Whether `vector` waits. */
  *requested(vector: Vector): Task<boolean> {
    return (((yield* this.read(LAPIC_REG.IRR + (vector >> 5))) >>> (vector & 31)) & 1) !== 0;
  }

  *sendIpi(destination: ApicId, vector: Vector, mode: number = DELIVERY.fixed): Task {
    yield* this.#command(ICR.level.put(ICR.deliveryMode.put(vector, mode), 1), destination);
  }

  /** The destination field does not matter with a shorthand. */
  sendToSelf(vector: Vector): Request {
    return this.write(LAPIC_REG.ICR, ICR.level.put(ICR.shorthand.put(vector, SHORTHAND.self), 1));
  }

  *sendToOthers(vector: Vector, mode: number = DELIVERY.fixed): Task {
    const word = ICR.shorthand.put(ICR.deliveryMode.put(vector, mode), SHORTHAND.others);
    yield* this.#command(ICR.level.put(word, 1), 0);
  }

  *#command(word: number, destination: ApicId): Task {
    if (this.x2apic) {
      yield* writeMsr(MSR_X2APIC + LAPIC_REG.ICR, word, destination);
      return;
    }
    yield* this.write(LAPIC_REG.ICR_HIGH, (destination << 24) >>> 0);
    yield* this.write(LAPIC_REG.ICR, word);
  }

  /** INIT, 10 ms, start-up IPI twice (SDM vol. 3A, 9.4.4.1 "Typical BSP Initialization Sequence"); code would begin at `page` × 4096. */
  *startProcessor(destination: ApicId, page: number): Task {
    yield* this.sendIpi(destination, 0, DELIVERY.init);
    yield* compute(10_000_000);
    for (let i = 0; i < 2; i++) {
      yield* this.sendIpi(destination, page, DELIVERY.startup);
      yield* compute(200_000);
    }
  }

  /** Timer at the bus clock, which is 1 GHz here: counts are nanoseconds. */
  *startTimer(vector: Vector, ns: Ns, periodic: boolean): Task {
    const mode = periodic ? TIMER_MODE.periodic : TIMER_MODE.oneShot;
    yield* this.write(LAPIC_REG.DIVIDE, DIVIDE_BY_1);
    yield* this.write(LAPIC_REG.LVT_TIMER, LVT_ENTRY.timerMode.put(vector, mode));
    yield* this.write(LAPIC_REG.INITIAL_COUNT, ns);
  }

  *stopTimer(): Task {
    yield* this.write(LAPIC_REG.LVT_TIMER, LVT_ENTRY.mask.mask);
    yield* this.write(LAPIC_REG.INITIAL_COUNT, 0);
  }
}
