/**
 * The power management capability: D0 and D3hot. PCI Bus Power Management Interface Specification 1.2, 3.2 and 5.4. Not modelled: D1 and D2 (a write of
 * these is ignored, 3.2.4), PME, D3cold.
 */
import { D0, D3HOT, POWER, POWER_BYTES, POWER_CAPABILITIES, POWER_CONTROL } from "./capabilities.regs.ts";
import { CAPABILITY } from "./config-space.regs.ts";
import type { ConfigSpace } from "./config-space.ts";

export type PowerOptions = {
  /** The function keeps its state on the way from D3hot to D0; without it that way is a reset (3.2.4, bit 3). */
  readonly noSoftReset?: boolean;
  readonly at?: number;
};

export class Power {
  readonly offset: number;
  readonly #space: ConfigSpace;
  readonly #noSoftReset: boolean;
  #before = D0;

  constructor(space: ConfigSpace, options: PowerOptions) {
    this.#space = space;
    this.#noSoftReset = options.noSoftReset === true;
    this.offset = space.addCapability(CAPABILITY.power, POWER_BYTES, options.at);
    const value = POWER_CAPABILITIES.version.put(0, 3);
    space.define({ name: "PMC", offset: this.offset + POWER.capabilities, size: 2, value });
    space.define({
      name: "PMCSR",
      offset: this.offset + POWER.control,
      size: 2,
      value: this.#noSoftReset ? POWER_CONTROL.noSoftReset.mask : 0,
      writable: POWER_CONTROL.state.mask,
    });
  }

  get state(): number {
    return POWER_CONTROL.state.of(this.#control());
  }

  beforeWrite(): void {
    this.#before = this.state;
  }

  /** True when the write just made asks for the reset that leads from D3hot to D0. */
  afterWrite(): boolean {
    const { state } = this;
    if (state === this.#before) return false;
    if (state !== D0 && state !== D3HOT) {
      this.#space.put(this.offset + POWER.control, 2, POWER_CONTROL.state.put(this.#control(), this.#before));
      return false;
    }
    return state === D0 && !this.#noSoftReset;
  }

  #control(): number {
    return this.#space.read(this.offset + POWER.control, 2);
  }
}
