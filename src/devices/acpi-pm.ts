/**
 * ACPI power management block, laid out like a PIIX4's: PM1 event and control registers, PM timer, general purpose events, SMI command port. ACPI
 * Specification 6.4, section 4.8. Its one interrupt is the SCI, level-triggered.
 *
 * Switching to ACPI mode by the SMI command port takes effect at once, without system management mode. Not modelled: sleep states other than power
 * off (the write is kept and nothing happens), SMIs, the global lock, processor throttling.
 */
import type { LinePin } from "../ports/line.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";
import type { Alarm, EventQueue } from "../sim/event-queue.ts";
import {
  ACPI_DISABLE,
  ACPI_ENABLE,
  PM,
  PM_BLOCK_BYTES,
  PM_TIMER_HZ,
  PM1_CONTROL,
  PM1_STATUS,
  POWER_OFF_TYPES,
} from "./acpi-pm.regs.ts";
import { Oscillator } from "./ticks.ts";

const CLOCK = new Oscillator(PM_TIMER_HZ);
/** Half of the general purpose event block: status bytes, then as many enable bytes. */
const GPE_BYTES = 8;
const STATUS_BITS =
  PM1_STATUS.timer.mask |
  PM1_STATUS.busMaster.mask |
  PM1_STATUS.global.mask |
  PM1_STATUS.powerButton.mask |
  PM1_STATUS.sleepButton.mask |
  PM1_STATUS.rtc.mask |
  PM1_STATUS.wake.mask;
const ENABLE_BITS =
  PM1_STATUS.timer.mask |
  PM1_STATUS.global.mask |
  PM1_STATUS.powerButton.mask |
  PM1_STATUS.sleepButton.mask |
  PM1_STATUS.rtc.mask;
const CONTROL_BITS = PM1_CONTROL.sciEnable.mask | PM1_CONTROL.busMasterReload.mask | PM1_CONTROL.sleepType.mask;

export type AcpiPmState = {
  status: number;
  enable: number;
  control: number;
  gpeStatus: Uint8Array;
  gpeEnable: Uint8Array;
  /** Changes of the PM timer's top bit that were dealt with. */
  carries: number;
  smiCommand: number;
  smiData: number;
};

export type AcpiPmOptions = {
  readonly name?: string;
  readonly queue: EventQueue;
  /** System control interrupt. */
  readonly sci: LinePin | null;
  /** Width of the PM timer; 24 by default, 0 for none: it reads 0 and has no carries. The FADT must say the same. */
  readonly timerBits?: 0 | 24 | 32;
  /** The guest powered the machine off. Called in the middle of a port write. */
  readonly powerOff: () => void;
  /** Any other value written to the SMI command port. */
  readonly smiCommand?: (value: number) => void;
};

export class AcpiPm implements Part {
  readonly name: string;
  readonly state: AcpiPmState = {
    status: 0,
    enable: 0,
    control: 0,
    gpeStatus: new Uint8Array(GPE_BYTES),
    gpeEnable: new Uint8Array(GPE_BYTES),
    carries: 0,
    smiCommand: 0,
    smiData: 0,
  };
  /** Ports 0x600-0x63F. */
  readonly window: Window;
  /** Ports 0xB2-0xB3. */
  readonly smiPort: Window;
  readonly #options: AcpiPmOptions;
  readonly #timerSpan: number;
  readonly #alarm: Alarm;

  constructor(options: AcpiPmOptions) {
    this.#options = options;
    this.name = options.name ?? "acpi-pm";
    this.#timerSpan = 2 ** (options.timerBits ?? 24);
    this.#alarm = options.queue.alarm(this.name, () => this.#sync());
    this.window = {
      name: this.name,
      size: PM_BLOCK_BYTES,
      minWidth: 1,
      maxWidth: 4,
      read: (offset, width) => this.#read(offset, width),
      write: (offset, width, value) => {
        for (let i = 0; i < width; i++) this.#writeByte(offset + i, (value >>> (8 * i)) & 0xff);
        this.#sync();
      },
      describe: registerName,
    };
    this.smiPort = {
      name: `${this.name} SMI command`,
      size: 2,
      minWidth: 1,
      maxWidth: 1,
      read: offset => (offset === 0 ? this.state.smiCommand : this.state.smiData),
      write: (offset, _width, value) => this.#writeSmi(offset, value),
      describe: offset => (offset === 0 ? "SMI command" : "SMI data"),
    };
  }

  reset(phase: ResetPhase, _kind: ResetKind): void {
    const { state: s } = this;
    if (phase === "enter") {
      this.#alarm.cancel();
      s.status = s.enable = s.control = s.smiCommand = s.smiData = 0;
      s.gpeStatus.fill(0);
      s.gpeEnable.fill(0);
      s.carries = this.#carries();
    } else if (phase === "hold") this.#sync();
  }

  /** The user pressed the power button. */
  powerButton(): void {
    this.state.status |= PM1_STATUS.powerButton.mask;
    this.#sync();
  }

  /** A general purpose event, 0 … 63, happened. */
  raiseGpe(event: number): void {
    const { gpeStatus } = this.state;
    const byte = (event >>> 3) % GPE_BYTES;
    gpeStatus[byte] = gpeStatus[byte]! | (1 << (event & 7));
    this.#sync();
  }

  #ticks(): number {
    if (this.#timerSpan === 1) return 0;
    return CLOCK.ticksAt(this.#options.queue.clock.now());
  }

  /** How often the timer's top bit has changed. */
  #carries(): number {
    return Math.floor(this.#ticks() / (this.#timerSpan / 2));
  }

  #read(offset: number, width: number): number {
    this.#sync();
    // Sampled once, so that the bytes of the timer belong together.
    const timer = this.#ticks() % this.#timerSpan;
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = value * 256 + this.#readByte(offset + i, timer);
    return value;
  }

  #readByte(offset: number, timer: number): number {
    const { state: s } = this;
    if (offset >= PM.gpe && offset < PM.gpe + GPE_BYTES) return s.gpeStatus[offset - PM.gpe]!;
    if (offset >= PM.gpe && offset < PM.gpe + 2 * GPE_BYTES) return s.gpeEnable[offset - PM.gpe - GPE_BYTES]!;
    const shift = 8 * (offset & 1);
    switch (offset & ~1) {
      case PM.status:
        return (s.status >>> shift) & 0xff;
      case PM.enable:
        return (s.enable >>> shift) & 0xff;
      case PM.control:
        return (s.control >>> shift) & 0xff;
      case PM.timer:
      case PM.timer + 2:
        return (timer >>> (8 * (offset - PM.timer))) & 0xff;
      default:
        return 0;
    }
  }

  #writeByte(offset: number, byte: number): void {
    const { state: s } = this;
    // A carry up to now happened before this write.
    this.#noteCarry();
    if (offset >= PM.gpe && offset < PM.gpe + GPE_BYTES) {
      s.gpeStatus[offset - PM.gpe] = s.gpeStatus[offset - PM.gpe]! & ~byte;
      return;
    }
    if (offset >= PM.gpe && offset < PM.gpe + 2 * GPE_BYTES) {
      s.gpeEnable[offset - PM.gpe - GPE_BYTES] = byte;
      return;
    }
    const shift = 8 * (offset & 1);
    const merged = (word: number, bits: number): number => (word & ~(0xff << shift)) | ((byte << shift) & bits);
    switch (offset & ~1) {
      case PM.status:
        s.status &= ~(byte << shift);
        break;
      case PM.enable:
        s.enable = merged(s.enable, ENABLE_BITS);
        break;
      case PM.control:
        s.control = merged(s.control, CONTROL_BITS);
        if (PM1_CONTROL.sleepEnable.on(byte << shift)) this.#sleep();
        break;
    }
  }

  /** SLP_EN was written with 1: SLP_TYP says where to. */
  #sleep(): void {
    const type = PM1_CONTROL.sleepType.of(this.state.control);
    if (POWER_OFF_TYPES.some(t => t === type)) this.#options.powerOff();
  }

  #writeSmi(offset: number, value: number): void {
    const { state: s } = this;
    if (offset === 1) {
      s.smiData = value;
      return;
    }
    s.smiCommand = value;
    if (value === ACPI_ENABLE) s.control |= PM1_CONTROL.sciEnable.mask;
    else if (value === ACPI_DISABLE) s.control &= ~PM1_CONTROL.sciEnable.mask;
    else this.#options.smiCommand?.(value);
    this.#sync();
  }

  /** TMR_STS "is set any time the most significant bit of the timer changes from clear to set or set to clear" (4.8.3.1.1). */
  #noteCarry(): void {
    const carries = this.#carries();
    if (carries === this.state.carries) return;
    this.state.carries = carries;
    this.state.status |= PM1_STATUS.timer.mask;
  }

  #sync(): void {
    const { state: s } = this;
    this.#noteCarry();
    s.status &= STATUS_BITS;
    let event = (s.status & s.enable) !== 0;
    for (let i = 0; i < GPE_BYTES; i++) event ||= (s.gpeStatus[i]! & s.gpeEnable[i]!) !== 0;
    const acpi = PM1_CONTROL.sciEnable.on(s.control);
    this.#options.sci?.set(event && acpi);
    const waits = this.#timerSpan > 1 && acpi && PM1_STATUS.timer.on(s.enable) && !PM1_STATUS.timer.on(s.status);
    const deadline = waits ? CLOCK.timeOf((s.carries + 1) * (this.#timerSpan / 2)) : Number.POSITIVE_INFINITY;
    if (deadline !== this.#alarm.deadline) this.#alarm.armAt(deadline);
  }
}

function registerName(offset: number): string {
  if (offset >= PM.gpe && offset < PM.gpe + 2 * GPE_BYTES)
    return offset < PM.gpe + GPE_BYTES ? "GPE0 status" : "GPE0 enable";
  if (offset >= PM.timer && offset < PM.timer + 4) return "PM timer";
  return ["PM1 status", "PM1 enable", "PM1 control"][offset >>> 1] ?? "ACPI PM";
}
