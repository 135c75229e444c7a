/**
 * ACPI fixed hardware of the board. ACPI Specification 6.4, section 4.8.3 "Fixed Feature Registers"; the layout of the block (offsets, PM timer at 8,
 * general purpose events at 0x20) and the SMI command port 0xB2 with its two values are this board's, told to the guest in the FADT.
 */
import { layout } from "../base/layout.ts";

/** PM timer clock (4.8.3.3). */
export const PM_TIMER_HZ = 3_579_545;

/** Offsets in the PM block (the board puts it at port 0x600). */
export const PM = { status: 0x00, enable: 0x02, control: 0x04, timer: 0x08, gpe: 0x20 } as const;
export const PM_BLOCK_BYTES = 0x40;
/** Values for the SMI command port. */
export const ACPI_ENABLE = 0xf1;
export const ACPI_DISABLE = 0xf0;

/** PM1 status register (4.8.3.1.1); bits are cleared by writing 1. The enable register has the same positions. */
export const PM1_STATUS = layout("PM1 status", 16, {
  timer: 0,
  busMaster: 4,
  global: 5,
  powerButton: 8,
  sleepButton: 9,
  rtc: 10,
  wake: 15,
});

/** PM1 control register (4.8.3.2.1). */
export const PM1_CONTROL = layout("PM1 control", 16, {
  sciEnable: 0,
  busMasterReload: 1,
  globalRelease: 2,
  sleepType: [12, 10],
  sleepEnable: 13,
});

/** Sleep types that power this board off: 5, and 0 as on the PIIX4 of other virtual machines. */
export const POWER_OFF_TYPES = [5, 0] as const;
