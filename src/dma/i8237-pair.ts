/**
 * The two 8237A of a PC/AT (IBM PC/AT Technical Reference, system board, "DMA controllers"): the first has channels 0 to 3, of 8 bits, and asks for the bus
 * through channel 4, the cascade input of the second, whose channels 5 to 7 are of 16 bits. Page registers at 0x80 to 0x8F give the upper address bits.
 *
 * Time. A service begins when the bus has been granted (two clocks after the request), a transfer takes five clocks, memory-to-memory ten. The order is
 * decided anew until the bus is granted, and after that nobody interrupts a service. A transfer happens whole at the end of its time: what is withdrawn
 * before (DREQ drops, the program masks the channel or changes its mode) has not happened. Where nobody can tell them apart, transfers of one service are
 * made together: at its end, or when the program looks at a register in the middle, which sees exactly what is due by then. A program that looks at memory
 * alone may see a block come late, never after its terminal count.
 *
 * On a modelled bus a service moves one transfer at a time: its clocks, and then the bus's time for its bytes; what is withdrawn until then has not happened.
 *
 * Not modelled: that processors wait while the bus is given away; refresh (its page register is there); a first controller that asks although channel 4
 * is not in cascade mode gets no bus, and channel 4 moves what an empty data bus has.
 */
import type { Ns } from "../base/units.ts";
import type { BusShare, JoinBus } from "../ports/bus-share.ts";
import { DmaChannel } from "../ports/dma-request.ts";
import { EVENT } from "../ports/events.ts";
import type { LineSink } from "../ports/line.ts";
import type { MasterPort } from "../ports/pci.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";
import type { Alarm, EventQueue } from "../sim/event-queue.ts";
import { I8237, type I8237State } from "./i8237.ts";
import { DMA_MODE, DMA_REG, PAGE_REGISTER, SERVICE, TRANSFER } from "./i8237.regs.ts";
import { IsaDmaBus } from "./isa-dma-bus.ts";

/** Half of the AT's 8 MHz system clock. */
export const DMA_CLOCK_NS = 250;
/** "All DMA data-transfer bus cycles are five clock cycles." */
export const TRANSFER_NS = 5 * DMA_CLOCK_NS;
/** A read and a write. */
export const COPY_NS = 2 * TRANSFER_NS;
/** HRQ to HLDA. */
export const GRANT_NS = 2 * DMA_CLOCK_NS;
const CHANNELS = 8;
const CASCADE = 4;
const NOBODY = -1;

export type I8237PairOptions = {
  readonly queue: EventQueue;
  /** The way to memory, with the requester id that ISA has. */
  readonly master: MasterPort;
  /** Board's number of DREQ 0's line. */
  readonly firstLine?: number;
  /** Absent where the bus is not modelled. */
  readonly joinBus?: JoinBus;
};

export type I8237PairState = {
  low: I8237State;
  high: I8237State;
  pages: Uint8Array;
  /** Channel that has the bus or waits for its grant, −1 for none. */
  service: number;
  /** When the next transfer begins or began. */
  since: Ns;
  /** Transfers until the alarm. */
  planned: number;
  /** The service has made a transfer. */
  moved: boolean;
  /** The channel's device that asked when the bus was granted: DACK is for it, −1 for none. */
  device: number;
  /** DACK of a channel in cascade mode is active. */
  cascaded: boolean;
};

export class I8237Pair implements Part, LineSink {
  readonly name = "dma";
  readonly channels: readonly DmaChannel[];
  readonly state: I8237PairState;
  /** 16 ports from 0x00. */
  readonly lowWindow: Window;
  /** 32 ports from 0xC0, a register at each even one. */
  readonly highWindow: Window;
  /** 16 ports from 0x80; the first is the POST code's, too, and may be left to another part. */
  readonly pageWindow: Window;
  readonly #low: I8237;
  readonly #high: I8237;
  readonly #buses: readonly IsaDmaBus[];
  readonly #master: MasterPort;
  readonly #queue: EventQueue;
  readonly #alarm: Alarm;
  readonly #share: BusShare | null;
  /** By channel: the event that told of its present block. */
  readonly #causes = new Float64Array(CHANNELS);
  /** Devices that hear of a transfer may change their DREQ; that is looked at behind it. */
  #moving = false;

  constructor(options: I8237PairOptions) {
    const { queue, master, firstLine = 0, joinBus } = options;
    this.#master = master;
    this.#queue = queue;
    this.#alarm = queue.alarm("dma", () => this.#due());
    this.#share = joinBus?.(null, () => this.#move(1)) ?? null;
    this.channels = Array.from({ length: CHANNELS }, (_, n) => new DmaChannel(n, firstLine + n, () => this.settle()));
    const pages = new Uint8Array(16);
    const { channels } = this;
    this.#buses = [
      new IsaDmaBus({ master, channels, pages, first: 0, width: 1 }),
      new IsaDmaBus({ master, channels, pages, first: CASCADE, width: 2 }),
    ];
    this.#low = new I8237(this.#buses[0]!);
    this.#high = new I8237(this.#buses[1]!);
    this.state = {
      low: this.#low.state,
      high: this.#high.state,
      pages,
      service: NOBODY,
      since: 0,
      planned: 0,
      moved: false,
      device: NOBODY,
      cascaded: false,
    };
    for (const { number, dreq } of channels) if (number !== CASCADE) dreq.connect(this, number);
    this.lowWindow = this.#registers("dma 8-bit", this.#low, 0);
    this.highWindow = this.#registers("dma 16-bit", this.#high, 1);
    this.pageWindow = {
      name: "dma pages",
      size: pages.length,
      minWidth: 1,
      maxWidth: 1,
      read: offset => pages[offset]!,
      write: (offset, _width, value) => {
        this.settle();
        pages[offset] = value;
      },
      describe: describePage,
    };
  }

  reset(phase: ResetPhase, _kind: ResetKind): void {
    if (phase === "enter") {
      const s = this.state;
      this.#low.reset();
      this.#high.reset();
      s.pages.fill(0);
      s.service = NOBODY;
      s.since = s.planned = 0;
      s.moved = false;
      s.device = NOBODY;
      this.#causes.fill(0);
      this.#alarm.cancel();
      this.#share?.cancel();
    } else if (phase === "hold" && this.state.cascaded) {
      this.state.cascaded = false;
      for (const channel of this.channels) channel.cascade(false);
    }
  }

  // --- registers ----------------------------------------------------------------------------------------------------------------------------------

  /** @param shift address lines that the chip does not see */
  #registers(name: string, chip: I8237, shift: number): Window {
    return {
      name,
      size: 16 << shift,
      minWidth: 1,
      maxWidth: 1,
      read: offset => {
        this.settle();
        this.#updateCascade();
        return chip.read(offset >> shift);
      },
      write: (offset, _width, value) => {
        this.settle();
        this.#write(chip, offset >> shift, value);
        this.#reconsider();
      },
      describe: offset => describeRegister(offset >> shift, chip === this.#high ? CASCADE : 0),
    };
  }

  #write(chip: I8237, register: number, value: number): void {
    const { mask, request } = chip.state;
    if (this.#unsettles(chip, register, value)) this.#release();
    chip.write(register, value);
    const begun = (mask & ~chip.state.mask) | (chip.state.request & ~request);
    for (let channel = 0; begun >> channel !== 0; channel++) if (begun & (1 << channel)) this.#announce(chip, channel);
  }

  /** A new mode under a service: the channel asks anew. */
  #unsettles(chip: I8237, register: number, value: number): boolean {
    const { service } = this.state;
    if (service === NOBODY || this.#chipOf(service) !== chip) return false;
    return register === DMA_REG.command || (register === DMA_REG.mode && DMA_MODE.channel.of(value) === (service & 3));
  }

  /** A channel has been given a block to move. */
  #announce(chip: I8237, channel: number): void {
    if (chip.service(channel) === SERVICE.cascade) return;
    const high = chip === this.#high;
    const bus = this.#buses[high ? 1 : 0]!;
    const number = high ? CASCADE + channel : channel;
    const bytes = chip.remaining(channel) << (high ? 1 : 0);
    const address = bus.place(channel, chip.state.address[channel]!);
    const { trace, requester } = this.#master;
    this.#causes[number] = trace.emit(EVENT.descriptor, requester, number, address, bytes, 0);
  }

  // --- who has the bus ----------------------------------------------------------------------------------------------------------------------------

  lineChanged(channel: number, level: boolean): void {
    this.lineRestored(channel, level);
    this.#reconsider();
  }

  lineRestored(channel: number, level: boolean): void {
    const chip = this.#chipOf(channel);
    const bit = 1 << (channel & 3);
    chip.dreq = level ? chip.dreq | bit : chip.dreq & ~bit;
  }

  #chipOf(channel: number): I8237 {
    return channel < CASCADE ? this.#low : this.#high;
  }

  /** The first chip's HRQ is the second's DREQ 0. */
  #updateCascade(): void {
    const { service } = this.state;
    const serving = service >= 0 && service < CASCADE && this.#low.entitled(service);
    this.#high.dreq = (this.#high.dreq & ~1) | (serving || this.#low.requests !== 0 ? 1 : 0);
  }

  #winner(): number {
    this.#updateCascade();
    const winner = this.#high.winner();
    if (winner !== 0) return winner < 0 ? NOBODY : CASCADE + winner;
    return this.#high.service(0) === SERVICE.cascade ? this.#low.winner() : CASCADE;
  }

  #entitled(channel: number): boolean {
    if (channel >= CASCADE) return this.#high.entitled(channel - CASCADE);
    this.#updateCascade();
    const open = (this.#high.requests & 1) !== 0 && this.#high.service(0) === SERVICE.cascade;
    return open && this.#low.entitled(channel);
  }

  /** Something changed that may begin or end a service. */
  #reconsider(): void {
    const s = this.state;
    if (this.#moving) return;
    const now = this.#queue.clock.now();
    let granted = now + GRANT_NS;
    if (s.service !== NOBODY) {
      const waiting = now < s.since;
      if (waiting ? this.#winner() === s.service : this.#entitled(s.service)) {
        if (!this.#onBus) this.#plan();
        return;
      }
      if (waiting) granted = s.since;
      this.#release();
    }
    const winner = this.#winner();
    if (winner === NOBODY) return;
    s.service = winner;
    s.since = granted;
    this.#plan();
  }

  #release(): void {
    const s = this.state;
    const channel = s.service;
    if (s.moved || s.cascaded) {
      this.#chipOf(channel).served(channel & 3);
      if (channel < CASCADE) this.#high.served(0);
    }
    const { cascaded } = s;
    s.service = NOBODY;
    s.planned = 0;
    s.moved = s.cascaded = false;
    this.#alarm.cancel();
    this.#share?.cancel();
    if (cascaded) this.channels[channel]!.cascade(false);
  }

  /** How many transfers are made before anything can happen by itself. */
  #plan(): void {
    const s = this.state;
    const chip = this.#chipOf(s.service);
    const channel = s.service & 3;
    const mode = chip.service(channel);
    if (this.#queue.clock.now() < s.since) s.device = this.channels[s.service]!.asking();
    if (mode === SERVICE.cascade) {
      s.planned = 0;
      if (!s.cascaded) this.#alarm.armAt(s.since);
      return;
    }
    if (mode === SERVICE.single) s.planned = 1;
    else if (mode === SERVICE.block) s.planned = chip.remaining(channel);
    else s.planned = Math.min(chip.remaining(channel), this.channels[s.service]!.burst());
    if (this.#share !== null) s.planned = 1;
    this.#alarm.armAt(s.since + s.planned * this.#pace());
  }

  #pace(): Ns {
    const { service } = this.state;
    return this.#chipOf(service).copies(service & 3) ? COPY_NS : TRANSFER_NS;
  }

  // --- transfers ----------------------------------------------------------------------------------------------------------------------------------

  #due(): void {
    const s = this.state;
    if (this.#chipOf(s.service).service(s.service & 3) !== SERVICE.cascade) {
      if (this.#share === null) this.settle();
      else this.#askForBus(this.#share);
      return;
    }
    s.cascaded = true;
    this.channels[s.service]!.cascade(true);
  }

  /** The clocks of one transfer are over. Verify moves nothing. */
  #askForBus(share: BusShare): void {
    const { service } = this.state;
    const chip = this.#chipOf(service);
    const kind = DMA_MODE.transfer.of(chip.state.mode[service & 3]!);
    if (chip.copies(service & 3)) share.request(2);
    else if (kind === TRANSFER.read || kind === TRANSFER.write) share.request(service < CASCADE ? 1 : 2);
    else this.#move(1);
  }

  get #onBus(): boolean {
    return this.#share !== null && this.#share.pending > 0;
  }

  /** Makes the transfers whose time is over: to be called before anybody looks at what they change. */
  settle(): void {
    const s = this.state;
    if (s.service === NOBODY || this.#moving || s.planned === 0 || this.#share !== null) return;
    const due = Math.floor((this.#queue.clock.now() - s.since) / this.#pace());
    if (due > 0) this.#move(Math.min(due, s.planned));
  }

  #move(transfers: number): void {
    const s = this.state;
    const number = s.service;
    const chip = this.#chipOf(number);
    const channel = number & 3;
    const single = chip.service(channel) === SERVICE.single;
    s.since = this.#share === null ? s.since + transfers * this.#pace() : this.#queue.clock.now();
    s.planned -= transfers;
    this.#moving = true;
    this.#master.cause = this.#causes[number]!;
    const wires = this.channels[number]!;
    s.moved = true;
    wires.cause = this.#causes[number]!;
    wires.begin(s.device);
    const copy = chip.copies(channel);
    const last = chip.transfer(channel, transfers);
    wires.end(last, last ? this.#completed(chip, channel, copy ? 1 : channel) : 0);
    this.#moving = false;
    if (last || single || !this.#entitled(number)) {
      this.#release();
      this.#reconsider();
    } else if (s.planned === 0) this.#plan();
  }

  /** Terminal count. Returns the event that told of it. @param counter whose count it was */
  #completed(chip: I8237, channel: number, counter: number): number {
    const high = chip === this.#high;
    const number = high ? CASCADE + channel : channel;
    const bytes = (chip.state.baseCount[counter]! + 1) << (high ? 1 : 0);
    const { trace, requester } = this.#master;
    const id = trace.emit(EVENT.completion, requester, number, bytes, 0, this.#causes[number]!);
    if (DMA_MODE.autoInitialize.on(chip.state.mode[channel]!)) this.#announce(chip, channel);
    return id;
  }
}

function describeRegister(register: number, first: number): string {
  if (register < DMA_REG.status) return `DMA ${register & 1 ? "count" : "address"} ${first + (register >> 1)}`;
  const names = ["status/command", "request", "mask bit", "mode", "flip-flop", "temporary/clear", "unmask all", "mask"];
  return `DMA ${names[register - DMA_REG.status]}`;
}

function describePage(offset: number): string {
  const channel = PAGE_REGISTER.indexOf(offset);
  return channel < 0 ? "DMA page (spare)" : channel === CASCADE ? "DMA page (refresh)" : `DMA page ${channel}`;
}
