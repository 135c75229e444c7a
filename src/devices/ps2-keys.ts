/**
 * Scan codes. IBM Personal System/2 Hardware Interface Technical Reference (1990), "Keyboards": set 1 is what a PC's software sees, set 2 what the keyboard sends;
 * the controller translates. Keys are named as by the W3C's UI Events KeyboardEvent code values.
 */
import { exists } from "../base/assert.ts";

/** Set 1 code of a set 2 code below 0x80 (the controller's translation table). */
// biome-ignore format: sixteen codes in a row
const SET2_TO_SET1 = Uint8Array.from([
  0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
  0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
  0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
  0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
  0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
  0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
  0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
  0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
]);
/** F7 and SysRq lie above 0x7F in set 2. */
const SET2_F7 = 0x83;
const SET2_SYSRQ = 0x84;
const SET1_F7 = 0x41;
const SET1_SYSRQ = 0x54;

/** What the controller makes of a byte from the keyboard while translation is on (break prefixes are its own affair). */
export function translateSet2(code: number): number {
  if (code === SET2_F7) return SET1_F7;
  if (code === SET2_SYSRQ) return SET1_SYSRQ;
  return code < 0x80 ? SET2_TO_SET1[code]! : code;
}

/** Set 2 make code of a set 1 make code 0x01 … 0x7F. */
export function set2Of(set1: number): number {
  if (set1 === SET1_F7) return SET2_F7;
  if (set1 === SET1_SYSRQ) return SET2_SYSRQ;
  const code = SET2_TO_SET1.indexOf(set1);
  return exists(code < 0 ? null : code, `no set 2 code for scan code ${set1}`);
}

const ROWS: readonly (readonly [firstCode: number, names: string])[] = [
  [0x01, "Escape Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0 Minus Equal Backspace Tab"],
  [0x10, "KeyQ KeyW KeyE KeyR KeyT KeyY KeyU KeyI KeyO KeyP BracketLeft BracketRight Enter ControlLeft"],
  [0x1e, "KeyA KeyS KeyD KeyF KeyG KeyH KeyJ KeyK KeyL Semicolon Quote Backquote ShiftLeft Backslash"],
  [0x2c, "KeyZ KeyX KeyC KeyV KeyB KeyN KeyM Comma Period Slash ShiftRight NumpadMultiply AltLeft Space CapsLock"],
  [0x3b, "F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 NumLock ScrollLock"],
  [0x47, "Numpad7 Numpad8 Numpad9 NumpadSubtract Numpad4 Numpad5 Numpad6 NumpadAdd Numpad1 Numpad2 Numpad3 Numpad0"],
  [0x53, "NumpadDecimal"],
  [0x56, "IntlBackslash F11 F12"],
  [0xe01c, "NumpadEnter ControlRight"],
  [0xe035, "NumpadDivide"],
  [0xe037, "PrintScreen AltRight"],
  [0xe047, "Home ArrowUp PageUp"],
  [0xe04b, "ArrowLeft"],
  [0xe04d, "ArrowRight"],
  [0xe04f, "End ArrowDown PageDown Insert Delete"],
  [0xe05b, "MetaLeft MetaRight ContextMenu"],
  [0xe11d, "Pause"],
];

/** Set 1 make code by key name; extended keys as 0xE0xx, Pause as 0xE11D. */
export const SET1_BY_NAME: ReadonlyMap<string, number> = new Map(
  ROWS.flatMap(([first, names]) => names.split(" ").map((name, i): [string, number] => [name, first + i])),
);
