/**
 * The host bridge, function 00:00.0: the memory controller hub of Intel's Q35/G33 chip set (data sheet 316966).
 *
 * Why this one and not the older 440FX: it belongs to a PCI Express machine, so that an operating system believes in the memory-mapped configuration
 * space, in root ports and in eight PIRQs; with it comes the ICH9, whose router Linux knows. No driver binds to it that would want more.
 *
 * Decisions: PCIEXBAR says where the board has its window and cannot be changed. Not modelled: everything about memory (PAM, SMRAM, remapping), for the
 * board's map is fixed.
 */
import { CONFIG_BYTES } from "./config-space.regs.ts";
import { HOST_BRIDGE_ID, INTEL, PCIEXBAR, PCIEXBAR_FIELDS } from "./chipset.regs.ts";
import { PciFunction, type PciSlot } from "./function.ts";

const CLASS_BRIDGE_HOST = 0x060000;

export class HostBridge extends PciFunction<Record<string, never>> {
  /** @param ecamBase where the configuration window lies, a multiple of 256 MiB */
  constructor(slot: PciSlot, ecamBase: number) {
    super(
      slot,
      { vendor: INTEL, device: HOST_BRIDGE_ID, revision: 2, classCode: CLASS_BRIDGE_HOST, configBytes: CONFIG_BYTES },
      {},
    );
    const value = ecamBase + PCIEXBAR_FIELDS.enable.mask;
    this.space.define({ name: "PCIEXBAR", offset: PCIEXBAR, size: 4, value });
    this.space.define({ name: "PCIEXBAR high", offset: PCIEXBAR + 4, size: 4 });
  }

  protected override resetDevice(): void {}
}
