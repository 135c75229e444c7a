/**
 * The PC's system control ports. Intel 82371AB (PIIX4) datasheet (order number 290562), section 4.2.5 "NMI Registers" (port 61h), 4.3.1 and 4.4.3
 * (ports 92h and CF9h).
 */
import { layout } from "../base/layout.ts";

/** Port 0x61: NMI status and control. Bits 7:4 are read only. */
export const PORT_61 = layout("NMI status and control", 8, {
  timer2Gate: 0,
  speakerData: 1,
  /** 1: SERR# NMIs disabled and their status cleared. */
  serrDisable: 2,
  /** 1: IOCHK# NMIs disabled and their status cleared. */
  iochkDisable: 3,
  refreshToggle: 4,
  timer2Out: 5,
  iochkStatus: 6,
  serrStatus: 7,
});

/** Port 0x92: port 92 register. */
export const PORT_92 = layout("port 92", 8, { fastInit: 0, fastA20: 1 });

/** Port 0xCF9: reset control register. */
export const RESET_CONTROL = layout("reset control", 8, { hardReset: 1, resetCpu: 2, fullReset: 3 });

/** Counter 1 of the timer asks for a refresh every 18 pulses of its clock (15.09 µs). */
export const REFRESH_PULSES = 18;
