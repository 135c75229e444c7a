/**
 * Configuration mechanism 1: CONFIG_ADDRESS at port 0xCF8, CONFIG_DATA at 0xCFC. PCI Local Bus Specification 3.0, 3.2.2.3.2.
 *
 * "Anytime a host bridge sees a full DWORD I/O write from the host to CONFIG_ADDRESS, it must latch the data"; narrower accesses to these four ports are
 * ordinary ones and go to whoever lies behind them: the reset control register at 0xCF9.
 */
import { onesOf } from "../base/int.ts";
import type { Part, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";
import { devfnOf, type PciBus } from "./bus.ts";
import { CONFIG_ADDRESS, CONFIG_ADDRESS_WRITABLE, MECHANISM1 } from "./mechanism1.regs.ts";
import { placeName } from "./topology.ts";

export type Mechanism1Options = {
  readonly root: PciBus;
  /** A byte-wide part that lies under CONFIG_ADDRESS. */
  readonly behind?: { readonly offset: number; readonly window: Window };
};

export class Mechanism1 implements Part {
  readonly name = "pci config";
  readonly state = { address: 0 };
  /** Ports 0xCF8-0xCFF. */
  readonly window: Window;
  readonly #root: PciBus;
  readonly #behind: Mechanism1Options["behind"];

  constructor(options: Mechanism1Options) {
    this.#root = options.root;
    this.#behind = options.behind;
    this.window = {
      name: this.name,
      size: MECHANISM1.bytes,
      minWidth: 1,
      maxWidth: 4,
      read: (offset, width) => this.#read(offset, width),
      write: (offset, width, value) => this.#write(offset, width, value),
      describe: offset => this.#describe(offset),
    };
  }

  reset(phase: ResetPhase): void {
    if (phase === "enter") this.state.address = 0;
  }

  #read(offset: number, width: number): number {
    const { address } = this.state;
    if (offset < MECHANISM1.data) return width === 4 ? address : this.#readBehind(offset, width);
    if (!CONFIG_ADDRESS.enable.on(address)) return onesOf(width);
    return this.#root.read(CONFIG_ADDRESS.bus.of(address), this.#devfn(), this.#register(offset), width);
  }

  #write(offset: number, width: number, value: number): void {
    const { address } = this.state;
    if (offset < MECHANISM1.data) {
      if (width === 4) this.state.address = (value & CONFIG_ADDRESS_WRITABLE) >>> 0;
      else this.#writeBehind(offset, width, value);
    } else if (CONFIG_ADDRESS.enable.on(address))
      this.#root.write(CONFIG_ADDRESS.bus.of(address), this.#devfn(), this.#register(offset), width, value);
  }

  #devfn(): number {
    const { address } = this.state;
    return devfnOf(CONFIG_ADDRESS.device.of(address), CONFIG_ADDRESS.function.of(address));
  }

  #register(offset: number): number {
    return (this.state.address & 0xfc) + (offset & 3);
  }

  #readBehind(offset: number, width: number): number {
    const shift = this.#byteBehind(offset, width);
    if (shift < 0) return onesOf(width);
    return ((onesOf(width) & ~(0xff << shift)) | (this.#behind!.window.read(0, 1) << shift)) >>> 0;
  }

  #writeBehind(offset: number, width: number, value: number): void {
    const shift = this.#byteBehind(offset, width);
    if (shift >= 0) this.#behind!.window.write(0, 1, (value >>> shift) & 0xff);
  }

  /** Bit number of the byte that belongs to the part behind, −1 when the access does not touch it. */
  #byteBehind(offset: number, width: number): number {
    const at = this.#behind === undefined ? -1 : this.#behind.offset - offset;
    return at >= 0 && at < width ? 8 * at : -1;
  }

  #describe(offset: number): string {
    if (offset < MECHANISM1.data) return offset === this.#behind?.offset ? "CONFIG_ADDRESS or reset" : "CONFIG_ADDRESS";
    const bus = CONFIG_ADDRESS.bus.of(this.state.address);
    const fn = this.#root.find(bus, this.#devfn());
    const register = this.#register(offset);
    return `CONFIG_DATA ${placeName(bus, this.#devfn())} ${fn === null ? "absent" : fn.configName(register)}`;
  }
}
