/**
 * QEMU's educational PCI device: identification, liveness, factorial with interrupt, interrupts raised and acknowledged, DMA. QEMU documentation,
 * docs/specs/edu.rst; INTA# and MSI with one vector.
 *
 * Decisions where the document is silent. Time: the factorial takes 1 µs and 10 ns per multiplication (after 34 of them the product is 0, and that is the
 * end); a DMA takes 1 µs and the pace of a 32-bit bus at 33 MHz, 30 ns for 4 bytes. While a DMA runs its registers take no writes. A transfer that leaves
 * the buffer moves nothing and ends like any other. DMA addresses lose the bits that the mask has not. The low half of a DMA register clears the high
 * half, so that a 32-bit write means what it says and a 64-bit one arrives whole. Every raise sends a message while MSI is on. On a modelled bus a DMA
 * takes 1 µs and its time on the bus.
 */
import type { CauseId } from "../base/units.ts";
import type { BusShare } from "../ports/bus-share.ts";
import { EVENT } from "../ports/events.ts";
import { BUS_STATUS, type BusStatus, type Initiator } from "../ports/initiator.ts";
import type { Window } from "../ports/window.ts";
import { PciFunction, type PciSlot } from "../pci/function.ts";
import type { Alarm, EventQueue } from "../sim/event-queue.ts";
import {
  EDU,
  EDU_BUFFER,
  EDU_BYTES,
  EDU_DEVICE,
  EDU_DMA,
  EDU_DMA_MASK,
  EDU_IDENTIFICATION,
  EDU_INTERRUPT,
  EDU_STATUS,
  EDU_VENDOR,
} from "./edu.regs.ts";

const SETUP_NS = 1000;
const MULTIPLICATION_NS = 10;
const BUS_WORD_NS = 30;
/** 34! is a multiple of 2^32. */
const LAST_FACTOR = 34;
const CLASS_OTHER = 0x00ff00;
const REVISION = 0x10;
const WORD = 2 ** 32;
/** Highest DMA register; the four lie 8 bytes apart. */
const DMA_END = EDU.dmaCommand + 8;

export type EduOptions = {
  readonly queue: EventQueue;
  /** Address bits that the DMA has, below 2^53. */
  readonly dmaMask?: number;
};

export type EduState = {
  liveness: number;
  factorial: number;
  /** The value whose factorial is being computed. */
  operand: number;
  status: number;
  interrupts: number;
  /** Source, destination, count, command: low and high word each. */
  dma: Uint32Array;
  buffer: Uint8Array;
};

const fresh = (): EduState => ({
  liveness: 0,
  factorial: 0,
  operand: 0,
  status: 0,
  interrupts: 0,
  dma: new Uint32Array(8),
  buffer: new Uint8Array(EDU_BUFFER.size),
});

/** `value`! modulo 2^32. */
export function factorial(value: number): number {
  let product = 1;
  for (let n = value; n > 1 && product !== 0; n--) product = Math.imul(product, n);
  return product >>> 0;
}

export class Edu extends PciFunction<EduState> {
  /** Region 0. */
  readonly window: Window;
  readonly #maskLow: number;
  readonly #maskHigh: number;
  readonly #factorialDone: Alarm;
  readonly #dmaDone: Alarm;
  readonly #share: BusShare | null;
  /** Observation only: the command that started the DMA. */
  #doorbell: CauseId = 0;

  constructor(slot: PciSlot, options: EduOptions) {
    const classCode = CLASS_OTHER;
    super(slot, { vendor: EDU_VENDOR, device: EDU_DEVICE, revision: REVISION, classCode, interruptPin: 0 }, fresh());
    const mask = options.dmaMask ?? EDU_DMA_MASK;
    this.#maskLow = (mask % WORD) >>> 0;
    this.#maskHigh = Math.floor(mask / WORD);
    this.#factorialDone = options.queue.alarm(`${this.name} factorial`, () => this.#endFactorial());
    this.#dmaDone = options.queue.alarm(`${this.name} dma`, () => this.#moveDma());
    this.#share = this.joinBus(null, () => this.#endDma());
    this.window = {
      name: this.name,
      size: EDU_BYTES,
      minWidth: 4,
      maxWidth: 4,
      narrowWrites: "drop",
      read: offset => this.#read(offset),
      write: (offset, _width, value) => this.#write(offset, value),
      describe: offset => describe(offset),
    };
    this.addBar(0, { kind: "memory32", window: this.window });
    this.addMsi({ vectors: 1, wide: true, maskable: false });
  }

  protected override resetDevice(): void {
    const s = this.state.device;
    s.liveness = s.factorial = s.operand = s.status = s.interrupts = 0;
    s.dma.fill(0);
    s.buffer.fill(0);
    this.#factorialDone.cancel();
    this.#dmaDone.cancel();
    this.#share?.cancel();
    this.#doorbell = 0;
  }

  #read(offset: number): number {
    const s = this.state.device;
    switch (offset) {
      case EDU.identification:
        return EDU_IDENTIFICATION;
      case EDU.liveness:
        return s.liveness;
      case EDU.factorial:
        return s.factorial;
      case EDU.status:
        return s.status;
      case EDU.interruptStatus:
        return s.interrupts;
      default:
        return offset >= EDU.dmaSource && offset < DMA_END ? s.dma[(offset - EDU.dmaSource) >> 2]! : 0xffffffff;
    }
  }

  #write(offset: number, value: number): void {
    const s = this.state.device;
    switch (offset) {
      case EDU.liveness:
        s.liveness = ~value >>> 0;
        return;
      case EDU.factorial:
        this.#startFactorial(value);
        return;
      case EDU.status:
        s.status = EDU_STATUS.interruptAfter.put(s.status, EDU_STATUS.interruptAfter.of(value));
        return;
      case EDU.interruptRaise:
        this.#raise(value);
        return;
      case EDU.interruptAcknowledge:
        s.interrupts = (s.interrupts & ~value) >>> 0;
        this.setIntx(s.interrupts !== 0);
        return;
      default:
        if (offset >= EDU.dmaSource && offset < DMA_END) this.#writeDma((offset - EDU.dmaSource) >> 2, value);
    }
  }

  #raise(bits: number, cause: CauseId = 0): void {
    const s = this.state.device;
    s.interrupts = (s.interrupts | bits) >>> 0;
    if (s.interrupts === 0) return;
    this.setIntx(true, cause);
    this.message(0, cause);
  }

  #startFactorial(value: number): void {
    const s = this.state.device;
    if (EDU_STATUS.computing.on(s.status)) return;
    s.operand = s.factorial = value;
    s.status = EDU_STATUS.computing.put(s.status, 1);
    this.#factorialDone.armIn(SETUP_NS + MULTIPLICATION_NS * Math.min(value, LAST_FACTOR));
  }

  #endFactorial(): void {
    const s = this.state.device;
    s.factorial = factorial(s.operand);
    s.status = EDU_STATUS.computing.put(s.status, 0);
    if (EDU_STATUS.interruptAfter.on(s.status)) this.#raise(EDU_INTERRUPT.factorial);
  }

  /** @param index word of the DMA registers */
  #writeDma(index: number, value: number): void {
    const { dma } = this.state.device;
    if (EDU_DMA.start.on(dma[6]!)) return;
    if (index < 6) {
      dma[index] = value;
      if (index % 2 === 0) dma[index + 1] = 0;
    } else if (index === 6 && EDU_DMA.start.on(value)) {
      dma[6] = value;
      this.#doorbell = this.tell(EVENT.doorbell, 0, value, 0, 0);
      const words = this.#inBuffer() && this.#share === null ? Math.ceil(dma[4]! / 4) : 0;
      this.#dmaDone.armIn(SETUP_NS + words * BUS_WORD_NS);
    }
  }

  /** Offset in the buffer of its end of the transfer, −1 when the transfer does not lie inside. */
  #bufferOffset(): number {
    const { dma } = this.state.device;
    const at = EDU_DMA.toRam.on(dma[6]!) ? 0 : 2;
    const offset = dma[at]! - EDU_BUFFER.base;
    const inside = dma[at + 1] === 0 && dma[5] === 0 && offset >= 0 && offset + dma[4]! <= EDU_BUFFER.size;
    return inside ? offset : -1;
  }

  #inBuffer(): boolean {
    return this.#bufferOffset() >= 0;
  }

  #moveDma(): void {
    const bytes = this.#inBuffer() && this.masters ? this.state.device.dma[4]! : 0;
    if (this.#share !== null && bytes > 0) this.#share.request(bytes);
    else this.#endDma();
  }

  /** The whole block moves at the end of its time. */
  #endDma(): void {
    const { dma, buffer } = this.state.device;
    const command = dma[6]!;
    const offset = this.#bufferOffset();
    const toRam = EDU_DMA.toRam.on(command);
    const at = toRam ? 2 : 0;
    const address = ((dma[at + 1]! & this.#maskHigh) >>> 0) * WORD + ((dma[at]! & this.#maskLow) >>> 0);
    const master: Initiator = this.master!;
    const bytes = offset >= 0 ? dma[4]! : 0;
    let status: BusStatus = BUS_STATUS.ok;
    if (bytes > 0) {
      this.dmaCause = this.#doorbell;
      status = toRam ? master.write(address, buffer, offset, bytes) : master.read(address, buffer, offset, bytes);
      this.dmaCause = 0;
    }
    dma[6] = EDU_DMA.start.put(command, 0);
    const done = this.tell(EVENT.completion, 0, status === BUS_STATUS.ok ? bytes : 0, status, this.#doorbell);
    if (EDU_DMA.interruptAfter.on(command)) this.#raise(EDU_INTERRUPT.dma, done);
  }
}

function describe(offset: number): string {
  for (const [name, at] of Object.entries(EDU)) if (at === offset) return `edu ${name}`;
  return offset > EDU.dmaSource && offset < DMA_END ? "edu DMA high word" : "edu reserved";
}
