/**
 * Images of the x87 state in memory: the environments of FSTENV and FSAVE, and the x87 part of FXSAVE.
 *
 * Document: Intel SDM vol 1 figures 8-9 to 8-12 (environment in protected and real mode, 16 and 32 bits), 8.1.10; vol 1
 * section 10.5.1 and vol 2 FXSAVE (tables of the 32-bit and 64-bit layouts). Reserved upper halves of 32-bit
 * environment words are stored as ones. The bytes of FXSAVE that belong to MXCSR and XMM are the caller's.
 */
import { X87_LAYOUT, type X87State } from "./x87-state.ts";

/** Which environment layout an instruction uses; virtual-8086 mode uses the real one, 64-bit mode PROTECTED32. */
export const ENV_REAL16 = 0;
export const ENV_PROTECTED16 = 1;
export const ENV_REAL32 = 2;
export const ENV_PROTECTED32 = 3;

/** Bytes of the environment in a layout. */
export function environmentSize(format: number): number {
  return format >= ENV_REAL32 ? 28 : 14;
}

const { opcode, instructionPointer, dataPointer, codeSelector, dataSelector } = X87_LAYOUT;

/** Stores the environment (FNSTENV, without its masking of the exceptions). */
export function storeEnvironment(s: X87State, format: number, out: DataView, at: number): void {
  const { view, base } = s;
  const wide = format >= ENV_REAL32;
  const step = wide ? 4 : 2;
  if (wide) for (let i = 0; i < 7; i++) out.setUint32(at + i * 4, 0xffff0000, true);
  out.setUint16(at, s.fcw, true);
  out.setUint16(at + step, s.fsw, true);
  out.setUint16(at + 2 * step, s.fullTagWord(), true);
  const fip = view.getUint32(base + instructionPointer, true);
  const fdp = view.getUint32(base + dataPointer, true);
  const fop = view.getUint16(base + opcode, true) & 0x7ff;
  if (format === ENV_PROTECTED32) {
    out.setUint32(at + 12, fip, true);
    out.setUint16(at + 16, view.getUint16(base + codeSelector, true), true);
    out.setUint16(at + 18, fop, true);
    out.setUint32(at + 20, fdp, true);
    out.setUint16(at + 24, view.getUint16(base + dataSelector, true), true);
  } else if (format === ENV_PROTECTED16) {
    out.setUint16(at + 6, fip & 0xffff, true);
    out.setUint16(at + 8, view.getUint16(base + codeSelector, true), true);
    out.setUint16(at + 10, fdp & 0xffff, true);
    out.setUint16(at + 12, view.getUint16(base + dataSelector, true), true);
  } else {
    storeRealPointers(s, wide, out, at);
  }
}

/** Real-mode layouts hold linear addresses: selector * 16 + offset. */
function storeRealPointers(s: X87State, wide: boolean, out: DataView, at: number): void {
  const { view, base } = s;
  const fop = view.getUint16(base + opcode, true) & 0x7ff;
  const fip = view.getUint32(base + instructionPointer, true) + view.getUint16(base + codeSelector, true) * 16;
  const fdp = view.getUint32(base + dataPointer, true) + view.getUint16(base + dataSelector, true) * 16;
  if (wide) {
    out.setUint16(at + 12, fip & 0xffff, true);
    out.setUint32(at + 16, ((fip >>> 16) << 12) | fop, true);
    out.setUint16(at + 20, fdp & 0xffff, true);
    out.setUint32(at + 24, (fdp >>> 16) << 12, true);
  } else {
    out.setUint16(at + 6, fip & 0xffff, true);
    out.setUint16(at + 8, ((fip >>> 4) & 0xf000) | fop, true);
    out.setUint16(at + 10, fdp & 0xffff, true);
    out.setUint16(at + 12, (fdp >>> 4) & 0xf000, true);
  }
}

/** Loads the environment (FLDENV). Flags that the loaded masks leave unmasked become pending. */
export function loadEnvironment(s: X87State, format: number, bytes: DataView, at: number): void {
  const { view, base } = s;
  const step = format >= ENV_REAL32 ? 4 : 2;
  s.fcw = bytes.getUint16(at, true);
  s.fsw = bytes.getUint16(at + step, true);
  s.loadTagWord(bytes.getUint16(at + 2 * step, true));
  let fip: number;
  let fdp: number;
  let fcs = 0;
  let fds = 0;
  let fop = 0;
  if (format === ENV_PROTECTED32) {
    fip = bytes.getUint32(at + 12, true);
    fcs = bytes.getUint16(at + 16, true);
    fop = bytes.getUint16(at + 18, true) & 0x7ff;
    fdp = bytes.getUint32(at + 20, true);
    fds = bytes.getUint16(at + 24, true);
  } else if (format === ENV_PROTECTED16) {
    fip = bytes.getUint16(at + 6, true);
    fcs = bytes.getUint16(at + 8, true);
    fdp = bytes.getUint16(at + 10, true);
    fds = bytes.getUint16(at + 12, true);
  } else if (format === ENV_REAL32) {
    const high = bytes.getUint32(at + 16, true);
    fip = bytes.getUint16(at + 12, true) | ((high >>> 12) << 16);
    fop = high & 0x7ff;
    fdp = bytes.getUint16(at + 20, true) | ((bytes.getUint32(at + 24, true) >>> 12) << 16);
  } else {
    const high = bytes.getUint16(at + 8, true);
    fip = bytes.getUint16(at + 6, true) | ((high & 0xf000) << 4);
    fop = high & 0x7ff;
    fdp = bytes.getUint16(at + 10, true) | ((bytes.getUint16(at + 12, true) & 0xf000) << 4);
  }
  view.setUint32(base + instructionPointer, fip, true);
  view.setUint32(base + instructionPointer + 4, 0, true);
  view.setUint32(base + dataPointer, fdp, true);
  view.setUint32(base + dataPointer + 4, 0, true);
  view.setUint16(base + codeSelector, fcs, true);
  view.setUint16(base + dataSelector, fds, true);
  view.setUint16(base + opcode, fop, true);
}

/** Stores the eight registers in stack order, 10 bytes each (FNSAVE, after the environment). */
export function storeRegisters(s: X87State, out: DataView, at: number): void {
  for (let i = 0; i < 8; i++) {
    out.setInt32(at + i * 10, s.lo(i), true);
    out.setInt32(at + i * 10 + 4, s.hi(i), true);
    out.setUint16(at + i * 10 + 8, s.se(i), true);
  }
}

function setRegister(s: X87State, i: number, bytes: DataView, at: number): void {
  const to = s.at(i);
  s.view.setInt32(to, bytes.getInt32(at, true), true);
  s.view.setInt32(to + 4, bytes.getInt32(at + 4, true), true);
  s.view.setUint16(to + 8, bytes.getUint16(at + 8, true), true);
}

/** Loads the eight registers in stack order (FRSTOR, after the environment). Tags stay. */
export function loadRegisters(s: X87State, bytes: DataView, at: number): void {
  for (let i = 0; i < 8; i++) setRegister(s, i, bytes, at + i * 10);
}

/** Writes the x87 part of a 512-byte FXSAVE image: bytes 0 to 23 and 32 to 159. wide: the REX.W form. */
export function storeFxsave(s: X87State, wide: boolean, out: DataView, at: number): void {
  const { view, base } = s;
  out.setUint16(at, s.fcw, true);
  out.setUint16(at + 2, s.fsw, true);
  out.setUint16(at + 4, s.abridgedTags, true);
  out.setUint16(at + 6, view.getUint16(base + opcode, true), true);
  out.setUint32(at + 8, view.getUint32(base + instructionPointer, true), true);
  out.setUint32(at + 16, view.getUint32(base + dataPointer, true), true);
  if (wide) {
    out.setUint32(at + 12, view.getUint32(base + instructionPointer + 4, true), true);
    out.setUint32(at + 20, view.getUint32(base + dataPointer + 4, true), true);
  } else {
    out.setUint32(at + 12, view.getUint16(base + codeSelector, true), true);
    out.setUint32(at + 20, view.getUint16(base + dataSelector, true), true);
  }
  for (let i = 0; i < 8; i++) {
    const to = at + 32 + i * 16;
    out.setInt32(to, s.lo(i), true);
    out.setInt32(to + 4, s.hi(i), true);
    out.setUint32(to + 8, s.se(i), true);
    out.setUint32(to + 12, 0, true);
  }
}

/** Reads the x87 part of a 512-byte FXSAVE image. wide: the REX.W form. */
export function loadFxsave(s: X87State, wide: boolean, bytes: DataView, at: number): void {
  const { view, base } = s;
  s.fcw = bytes.getUint16(at, true);
  s.fsw = bytes.getUint16(at + 2, true);
  s.abridgedTags = bytes.getUint8(at + 4);
  view.setUint16(base + opcode, bytes.getUint16(at + 6, true) & 0x7ff, true);
  view.setUint32(base + instructionPointer, bytes.getUint32(at + 8, true), true);
  view.setUint32(base + dataPointer, bytes.getUint32(at + 16, true), true);
  view.setUint32(base + instructionPointer + 4, wide ? bytes.getUint32(at + 12, true) : 0, true);
  view.setUint32(base + dataPointer + 4, wide ? bytes.getUint32(at + 20, true) : 0, true);
  view.setUint16(base + codeSelector, wide ? 0 : bytes.getUint16(at + 12, true), true);
  view.setUint16(base + dataSelector, wide ? 0 : bytes.getUint16(at + 20, true), true);
  for (let i = 0; i < 8; i++) setRegister(s, i, bytes, at + 32 + i * 16);
}
