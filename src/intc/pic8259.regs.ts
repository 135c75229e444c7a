/**
 * Registers of the 8259A programmable interrupt controller. Document: Intel 8259A data sheet (231468), "Initialization Command Words" (fig. 7) and
 * "Operation Command Words" (fig. 8); the edge/level registers: Intel 82371SB (PIIX3, 290550), section 2.5.5.
 */
import { layout } from "../base/layout.ts";

/** Written to A0 = 0 with bit 4 set. */
export const ICW1 = layout("ICW1", 8, { IC4: 0, SNGL: 1, ADI: 2, LTIM: 3, ICW: 4, A7_5: [7, 5] });
/** Written to A0 = 1 after ICW1: T7–T3 in 8086 mode, A15–A8 of the routine's address in 8080 mode. */
export const ICW2 = layout("ICW2", 8, { T7_3: [7, 3] });
/** Slave's ICW3: its number on the cascade lines. (The master's is one bit per input with a slave.) */
export const ICW3_SLAVE = layout("ICW3 slave", 8, { ID: [2, 0] });
export const ICW4 = layout("ICW4", 8, { uPM: 0, AEOI: 1, MS: 2, BUF: 3, SFNM: 4 });
/** Written to A0 = 0 with bits 4:3 = 00. */
export const OCW2 = layout("OCW2", 8, { L: [2, 0], KIND: [4, 3], EOI: 5, SL: 6, R: 7 });
/** Written to A0 = 0 with bits 4:3 = 01. */
export const OCW3 = layout("OCW3", 8, { RIS: 0, RR: 1, P: 2, KIND: [4, 3], SMM: 5, ESMM: 6 });
/** What a read gives after the poll command. */
export const POLL = layout("poll", 8, { W: [2, 0], I: 7 });

/** Values of OCW2's bits 7:5 (R, SL, EOI). */
export const OCW2_COMMAND = {
  clearRotateInAeoi: 0,
  nonSpecificEoi: 1,
  noOperation: 2,
  specificEoi: 3,
  setRotateInAeoi: 4,
  rotateOnNonSpecificEoi: 5,
  setPriority: 6,
  rotateOnSpecificEoi: 7,
} as const;

/** Port addresses on a PC. */
export const PIC_PORT = { master: 0x20, slave: 0xa0, elcr: 0x4d0 } as const;
/** Writable bits of the two edge/level registers: IRQ 0, 1, 2, 8 and 13 are always edge. */
export const ELCR_MASK = [0xf8, 0xde] as const;
