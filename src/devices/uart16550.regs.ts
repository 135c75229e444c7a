/**
 * Registers of the 16550A UART. National Semiconductor PC16550D datasheet (June 1995), section 8 "Registers", tables I, II and IV.
 */
import { layout } from "../base/layout.ts";

/** Crystal of the PC's serial ports. */
export const UART_HZ = 1_843_200;
export const UART_FIFO_BYTES = 16;

/** Offsets in the port window. 0 and 1 are the divisor latch while LCR.dlab is set. */
export const UART = { data: 0, ier: 1, iirFcr: 2, lcr: 3, mcr: 4, lsr: 5, msr: 6, scratch: 7 } as const;

/** Interrupt enable register (8.7). */
export const UART_IER = layout("IER", 8, { receivedData: 0, transmitterEmpty: 1, lineStatus: 2, modemStatus: 3 });

/** Values of IIR bits 3:0 (table IV), highest priority first. */
export const UART_IIR = {
  lineStatus: 0x6,
  receivedData: 0x4,
  timeout: 0xc,
  transmitterEmpty: 0x2,
  modemStatus: 0x0,
  none: 0x1,
  fifosEnabled: 0xc0,
} as const;

/** FIFO control register (8.5). */
export const UART_FCR = layout("FCR", 8, {
  enable: 0,
  clearReceiver: 1,
  clearTransmitter: 2,
  dmaMode: 3,
  trigger: [7, 6],
});
/** Receiver trigger levels by FCR.trigger. */
export const UART_TRIGGER = [1, 4, 8, 14] as const;

/** Line control register (8.1). */
export const UART_LCR = layout("LCR", 8, {
  wordLength: [1, 0],
  twoStopBits: 2,
  parityEnable: 3,
  evenParity: 4,
  stickParity: 5,
  setBreak: 6,
  dlab: 7,
});

/** Modem control register (8.8). */
export const UART_MCR = layout("MCR", 8, { dtr: 0, rts: 1, out1: 2, out2: 3, loop: 4 });

/** Line status register (8.4). */
export const UART_LSR = layout("LSR", 8, {
  dataReady: 0,
  overrun: 1,
  parity: 2,
  framing: 3,
  breakInterrupt: 4,
  holdingEmpty: 5,
  transmitterEmpty: 6,
  fifoError: 7,
});

/** Modem status register (8.9). */
export const UART_MSR = layout("MSR", 8, {
  deltaCts: 0,
  deltaDsr: 1,
  trailingRi: 2,
  deltaDcd: 3,
  cts: 4,
  dsr: 5,
  ri: 6,
  dcd: 7,
});
