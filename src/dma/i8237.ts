/**
 * The 8237A programmable DMA controller (Intel 8237A datasheet, order number 231466): four channels with their registers, requests, priorities and what a
 * transfer does to addresses, counts and status. How transfers travel and how long they take is the board's affair (i8237-pair.ts): it asks who comes
 * first, and has the chip make a number of transfers.
 *
 * Where the datasheet is silent: rotating priority begins with channel 0 first after a reset and keeps its order while fixed priority is selected.
 * Status bits 7-4 show requests whether masked or not. The illegal transfer type moves nothing, like verify. In a memory-to-memory transfer channel 0's word
 * count goes down along with channel 1's but ends nothing; at channel 1's terminal count each of the two reloads or is masked, as its mode says,
 * and the status bit is channel 1's. Registers that cannot be read give all-ones. Noted without effect: compressed timing, extended write, the senses of
 * DREQ and DACK. Not modelled: external EOP.
 */
import { DMA_ALL_MASK, DMA_BIT, DMA_COMMAND, DMA_MODE, DMA_REG, DMA_STATUS, SERVICE, TRANSFER } from "./i8237.regs.ts";

const CHANNELS = 4;
const ALL = 0xf;
const OPEN = 0xff;

/**
 * What an 8237A needs of its board: somebody who carries out the bus cycles of a channel (0 … 3). Addresses are the chip's 16 bits and wrap inside them;
 * `step` is +1, −1 or (source of a copy) 0 per transfer.
 */
export interface DmaMover {
  /** Memory-to-memory transfers are possible on this board. */
  readonly copies: boolean;
  toMemory(channel: number, address: number, step: number, transfers: number): void;
  fromMemory(channel: number, address: number, step: number, transfers: number): void;
  verify(channel: number, transfers: number): void;
  /** From channel 0's address to channel 1's, byte after byte. Returns the last byte. */
  copy(from: number, fromStep: number, to: number, toStep: number, transfers: number): number;
}

export type I8237State = {
  command: number;
  /** Bits 3-0: terminal count reached since the last read of the status register. */
  terminalCounts: number;
  request: number;
  mask: number;
  temporary: number;
  /** The next byte of an address or a count is the high one. */
  highByte: boolean;
  /** Channel of lowest priority when priorities rotate. */
  lowest: number;
  mode: Uint8Array;
  baseAddress: Uint16Array;
  baseCount: Uint16Array;
  address: Uint16Array;
  count: Uint16Array;
};

export class I8237 {
  readonly state: I8237State = {
    command: 0,
    terminalCounts: 0,
    request: 0,
    mask: ALL,
    temporary: 0,
    highByte: false,
    lowest: CHANNELS - 1,
    mode: new Uint8Array(CHANNELS),
    baseAddress: new Uint16Array(CHANNELS),
    baseCount: new Uint16Array(CHANNELS),
    address: new Uint16Array(CHANNELS),
    count: new Uint16Array(CHANNELS),
  };
  /** Levels of the DREQ pins, a bit each; whoever drives them has the state. */
  dreq = 0;
  readonly #mover: DmaMover;

  constructor(mover: DmaMover) {
    this.#mover = mover;
  }

  /** RESET, with registers that have no value then at 0. */
  reset(): void {
    const s = this.state;
    this.#masterClear();
    for (const register of [s.mode, s.baseAddress, s.baseCount, s.address, s.count]) register.fill(0);
    s.lowest = CHANNELS - 1;
  }

  /** Like RESET, which leaves modes, addresses and counts alone. */
  #masterClear(): void {
    const s = this.state;
    s.command = s.terminalCounts = s.request = s.temporary = 0;
    s.highByte = false;
    s.mask = ALL;
  }

  // --- registers ----------------------------------------------------------------------------------------------------------------------------------

  /** @param register A3-A0 */
  read(register: number): number {
    const s = this.state;
    if (register < DMA_REG.status) {
      const value = (register & 1 ? s.count : s.address)[register >> 1]!;
      return this.#toggle() ? value >> 8 : value & 0xff;
    }
    if (register === DMA_REG.status) {
      const value = DMA_STATUS.request.put(s.terminalCounts, (this.dreq | s.request) & ALL);
      s.terminalCounts = 0;
      return value;
    }
    return register === DMA_REG.temporary ? s.temporary : OPEN;
  }

  /** @param register A3-A0 */
  write(register: number, value: number): void {
    const s = this.state;
    const bit = 1 << DMA_BIT.channel.of(value);
    switch (register) {
      case DMA_REG.command:
        s.command = value;
        return;
      case DMA_REG.request:
        s.request = DMA_BIT.set.on(value) ? s.request | bit : s.request & ~bit;
        return;
      case DMA_REG.singleMask:
        s.mask = DMA_BIT.set.on(value) ? s.mask | bit : s.mask & ~bit;
        return;
      case DMA_REG.mode:
        s.mode[DMA_MODE.channel.of(value)] = value;
        return;
      case DMA_REG.clearFlipFlop:
        s.highByte = false;
        return;
      case DMA_REG.masterClear:
        this.#masterClear();
        return;
      case DMA_REG.clearMask:
        s.mask = 0;
        return;
      case DMA_REG.allMask:
        s.mask = DMA_ALL_MASK.channels.of(value);
        return;
      default:
        this.#writePart(register, value);
    }
  }

  /** A byte of an address or count goes into the base and the current register alike. */
  #writePart(register: number, value: number): void {
    const s = this.state;
    const base = register & 1 ? s.baseCount : s.baseAddress;
    const current = register & 1 ? s.count : s.address;
    const channel = register >> 1;
    const high = this.#toggle();
    base[channel] = merge(base[channel]!, value, high);
    current[channel] = merge(current[channel]!, value, high);
  }

  /** Which byte comes now; then the other one is next. */
  #toggle(): boolean {
    const { highByte } = this.state;
    this.state.highByte = !highByte;
    return highByte;
  }

  // --- requests and priorities --------------------------------------------------------------------------------------------------------------------

  /** Channels that ask for service: by an unmasked DREQ, or by software, which no mask stops. */
  get requests(): number {
    const s = this.state;
    return DMA_COMMAND.disable.on(s.command) ? 0 : ((this.dreq & ~s.mask) | s.request) & ALL;
  }

  /** The channel that is served next, −1 when none asks. */
  winner(): number {
    const { requests } = this;
    if (requests === 0) return -1;
    const first = DMA_COMMAND.rotatingPriority.on(this.state.command) ? this.state.lowest + 1 : 0;
    for (let i = 0; i < CHANNELS; i++) {
      const channel = (first + i) % CHANNELS;
      if (requests & (1 << channel)) return channel;
    }
    return -1;
  }

  /** How a channel is served: one of {@link SERVICE}. Memory-to-memory is done in block mode. */
  service(channel: number): number {
    return this.copies(channel) ? SERVICE.block : DMA_MODE.mode.of(this.state.mode[channel]!);
  }

  /** A service that has begun may go on: a block needs no DREQ any more, but the channel must not be switched off. */
  entitled(channel: number): boolean {
    const s = this.state;
    if (this.requests & (1 << channel)) return true;
    if (DMA_COMMAND.disable.on(s.command) || s.mask & (1 << channel)) return false;
    return this.service(channel) === SERVICE.block;
  }

  /** The channel is the source of a memory-to-memory transfer. */
  copies(channel: number): boolean {
    return channel === 0 && this.#mover.copies && DMA_COMMAND.memoryToMemory.on(this.state.command);
  }

  /** Transfers up to and with the terminal count. */
  remaining(channel: number): number {
    return this.state.count[this.copies(channel) ? 1 : channel]! + 1;
  }

  /** The bus is released: with rotating priority the channel that was served comes last from now on. */
  served(channel: number): void {
    if (DMA_COMMAND.rotatingPriority.on(this.state.command)) this.state.lowest = channel;
  }

  // --- transfers ----------------------------------------------------------------------------------------------------------------------------------

  /** Makes `transfers` (at most {@link remaining}) transfers. True when the last one reached the terminal count. */
  transfer(channel: number, transfers: number): boolean {
    const s = this.state;
    if (this.copies(channel)) return this.#copy(transfers);
    const mode = s.mode[channel]!;
    const address = s.address[channel]!;
    const step = stepOf(mode);
    const kind = DMA_MODE.transfer.of(mode);
    if (kind === TRANSFER.write) this.#mover.toMemory(channel, address, step, transfers);
    else if (kind === TRANSFER.read) this.#mover.fromMemory(channel, address, step, transfers);
    else this.#mover.verify(channel, transfers);
    const last = transfers > s.count[channel]!;
    s.address[channel] = address + step * transfers;
    s.count[channel] = s.count[channel]! - transfers;
    if (last) this.#terminalCount(channel);
    return last;
  }

  #copy(transfers: number): boolean {
    const { address, count, command, mode } = this.state;
    const from = DMA_COMMAND.addressHold.on(command) ? 0 : stepOf(mode[0]!);
    const to = stepOf(mode[1]!);
    this.state.temporary = this.#mover.copy(address[0]!, from, address[1]!, to, transfers);
    const last = transfers > count[1]!;
    address[0] = address[0]! + from * transfers;
    address[1] = address[1]! + to * transfers;
    count[0] = count[0]! - transfers;
    count[1] = count[1]! - transfers;
    if (last) {
      this.state.request &= ~1;
      this.#reload(0);
      this.#terminalCount(1);
    }
    return last;
  }

  #terminalCount(channel: number): void {
    const s = this.state;
    s.terminalCounts |= 1 << channel;
    s.request &= ~(1 << channel);
    this.#reload(channel);
  }

  /** Autoinitialize, or no further service until the program unmasks the channel. */
  #reload(channel: number): void {
    const s = this.state;
    if (DMA_MODE.autoInitialize.on(s.mode[channel]!)) {
      s.address[channel] = s.baseAddress[channel]!;
      s.count[channel] = s.baseCount[channel]!;
    } else {
      s.mask |= 1 << channel;
    }
  }
}

const merge = (word: number, byte: number, high: boolean): number =>
  high ? (word & 0x00ff) | (byte << 8) : (word & 0xff00) | byte;

const stepOf = (mode: number): number => (DMA_MODE.decrement.on(mode) ? -1 : 1);
