/**
 * Registers and commands of the PS/2 keyboard controller. IBM Personal System/2 Hardware Interface Technical Reference (1990), "Keyboard and Auxiliary
 * Device Controller".
 */
import { layout } from "../base/layout.ts";

/** Status register (port 0x64). */
export const I8042_STATUS = layout("8042 status", 8, {
  outputFull: 0,
  inputFull: 1,
  system: 2,
  command: 3,
  notInhibited: 4,
  auxiliaryFull: 5,
  timeout: 6,
  parity: 7,
});

/** Controller command byte (commands 0x20 and 0x60). */
export const I8042_CONTROL = layout("8042 command byte", 8, {
  keyboardInterrupt: 0,
  auxiliaryInterrupt: 1,
  system: 2,
  keyboardDisable: 4,
  auxiliaryDisable: 5,
  translate: 6,
});

/** Output port (commands 0xD0 and 0xD1). */
export const I8042_OUTPUT_PORT = layout("8042 output port", 8, {
  notReset: 0,
  a20: 1,
  auxiliaryData: 2,
  auxiliaryClock: 3,
  keyboardInterrupt: 4,
  auxiliaryInterrupt: 5,
  keyboardClock: 6,
  keyboardData: 7,
});

/** Controller commands (written to port 0x64). */
export const I8042_COMMAND = {
  readRam: 0x20,
  writeRam: 0x60,
  testPassword: 0xa4,
  disableAuxiliary: 0xa7,
  enableAuxiliary: 0xa8,
  testAuxiliary: 0xa9,
  selfTest: 0xaa,
  testKeyboard: 0xab,
  disableKeyboard: 0xad,
  enableKeyboard: 0xae,
  readInputPort: 0xc0,
  readOutputPort: 0xd0,
  writeOutputPort: 0xd1,
  writeKeyboardBuffer: 0xd2,
  writeAuxiliaryBuffer: 0xd3,
  writeAuxiliary: 0xd4,
  disableA20: 0xdd,
  enableA20: 0xdf,
  readTestInputs: 0xe0,
  pulseOutputPort: 0xf0,
} as const;

/** Answers of the controller. */
export const I8042_ANSWER = { selfTestPassed: 0x55, interfaceGood: 0x00, noPassword: 0xf1 } as const;
