/**
 * An ATA cable with up to two drives and the host's end of it: which drive answers, what is read where no drive is, device control, INTRQ and DMARQ.
 * T13/1410D (ATA/ATAPI-6): chapter 7, 9.16 "Single device configurations" and table 4 (pull-downs).
 *
 * Decisions. Where device 1 is selected and only device 0 is there, a disk answers with its own registers and a status of 0, an ATAPI drive with zeros; where
 * device 0 is selected and only device 1 is there, nobody answers. The data register takes 16-bit words, two of them in a 32-bit access (the host's chip
 * makes two cycles of it), and one for a byte access.
 */
import { onesOf } from "../../base/int.ts";
import type { CauseId } from "../../base/units.ts";
import type { Window } from "../../ports/window.ts";
import { ATA, ATA_BLOCK_BYTES, ATA_COMMAND, ATA_CONTROL, ATA_DEVICE, ATA_NAMES, ATA_NOBODY } from "./ata.regs.ts";
import type { AtaCable, AtaDrive } from "./ata-drive.ts";

export type ChannelState = {
  /** Device that the host has selected, 0 or 1. */
  selected: number;
  /** Device control register. */
  control: number;
};
export const freshChannel = (): ChannelState => ({ selected: 0, control: 0 });

export type ChannelOptions = {
  readonly name: string;
  /** INTRQ, behind nIEN. */
  readonly onInterrupt: (level: boolean, cause: CauseId) => void;
  /** DMARQ of the selected drive may have changed. */
  readonly onDma: () => void;
};

export class AtaChannel implements AtaCable {
  readonly state: ChannelState;
  /** 8 ports. */
  readonly commandBlock: Window;
  /** Alternate status and device control: one port. */
  readonly controlBlock: Window;
  readonly #options: ChannelOptions;
  #drives: readonly (AtaDrive | null)[] = [null, null];

  constructor(state: ChannelState, options: ChannelOptions) {
    this.state = state;
    this.#options = options;
    const { name } = options;
    this.commandBlock = {
      name,
      size: ATA_BLOCK_BYTES,
      minWidth: 1,
      maxWidth: 4,
      read: (offset, width) => this.#read(offset, width),
      write: (offset, width, value) => this.#write(offset, width, value),
      describe: offset => `${name} ${ATA_NAMES[offset]}`,
    };
    this.controlBlock = {
      name: `${name} control`,
      size: 1,
      minWidth: 1,
      maxWidth: 1,
      read: () => this.#status(),
      write: (_offset, _width, value) => this.#writeControl(value),
      describe: () => `${name} control`,
    };
  }

  /** To be called once, when the machine is built. */
  attach(drives: readonly (AtaDrive | null)[]): void {
    this.#drives = drives;
  }

  /** RESET- is asserted: touches nobody. */
  powerOn(): void {
    this.state.selected = this.state.control = 0;
    for (const drive of this.#drives) drive?.powerOn();
  }

  /** The drive that asks for DMA; null for none. */
  get dmaDrive(): AtaDrive | null {
    const drive = this.#drives[this.state.selected] ?? null;
    return drive?.dmaRequest === true ? drive : null;
  }

  /** INTRQ: the selected drive's alone, and nobody's while nIEN is set (7.8.3). */
  get interrupt(): boolean {
    const wanted = this.#drives[this.state.selected]?.state.interrupt === true;
    return wanted && !ATA_CONTROL.nIen.on(this.state.control);
  }

  interruptChanged(cause: CauseId): void {
    this.#options.onInterrupt(this.interrupt, cause);
  }

  dmaChanged(): void {
    this.#options.onDma();
  }

  // --- the host's accesses --------------------------------------------------------------------------------------------------------------------------------

  #read(offset: number, width: number): number {
    if (offset === ATA.data) return this.#readData(width);
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = value * 256 + this.#register(offset + i);
    return value;
  }

  #write(offset: number, width: number, value: number): void {
    if (offset === ATA.data) this.#writeData(width, value);
    else for (let i = 0; i < width; i++) this.#writeRegister(offset + i, (value >>> (8 * i)) & 0xff);
  }

  #readData(width: number): number {
    const drive = this.#drives[this.state.selected] ?? null;
    if (drive === null) return this.#empty ? (onesOf(width) & ~0x80) >>> 0 : 0;
    const word = drive.readData();
    if (width < 4) return word & onesOf(width);
    return word + drive.readData() * 0x10000;
  }

  #writeData(width: number, value: number): void {
    const drive = this.#drives[this.state.selected] ?? null;
    drive?.writeData(value & 0xffff);
    if (width === 4) drive?.writeData(value >>> 16);
  }

  /** Nobody drives the bus for what is selected. */
  get #empty(): boolean {
    const { selected } = this.state;
    return this.#drives[selected] == null && (selected === 0 || this.#drives[0] == null);
  }

  #status(): number {
    if (this.#empty) return ATA_NOBODY;
    return this.#drives[this.state.selected]?.state.status ?? 0;
  }

  #register(offset: number): number {
    const { selected, control } = this.state;
    const drive = this.#drives[selected] ?? null;
    if (offset === ATA.status) {
      const status = this.#status();
      drive?.acknowledge();
      return status;
    }
    if (this.#empty) return ATA_NOBODY;
    const answering = drive ?? this.#drives[0]!;
    if (drive === null && !answering.answersForDevice1) return 0;
    const value = answering.readRegister(offset, ATA_CONTROL.hob.on(control));
    return offset === ATA.device ? ATA_DEVICE.dev.put(value, selected) : value;
  }

  /** All drives hear what is written to the task file. */
  #writeRegister(offset: number, value: number): void {
    const { state } = this;
    state.control = ATA_CONTROL.hob.put(state.control, 0);
    if (offset === ATA.command) {
      this.#command(value);
      return;
    }
    for (const drive of this.#drives) drive?.writeRegister(offset, value);
    if (offset !== ATA.device) return;
    state.selected = ATA_DEVICE.dev.of(value);
    this.interruptChanged(0);
    this.dmaChanged();
  }

  #command(value: number): void {
    if (value !== ATA_COMMAND.diagnose) {
      this.#drives[this.state.selected]?.writeCommand(value);
      return;
    }
    if (this.#drives.some(drive => drive?.busy === true)) return;
    this.state.selected = 0;
    for (const drive of this.#drives) drive?.diagnose();
  }

  #writeControl(value: number): void {
    const { state } = this;
    const [was, is] = [ATA_CONTROL.srst.on(state.control), ATA_CONTROL.srst.on(value)];
    state.control = value & (ATA_CONTROL.nIen.mask | ATA_CONTROL.srst.mask | ATA_CONTROL.hob.mask);
    if (is && !was) {
      state.selected = 0;
      for (const drive of this.#drives) drive?.hold();
    } else if (was && !is) for (const drive of this.#drives) drive?.release();
    this.interruptChanged(0);
  }
}
