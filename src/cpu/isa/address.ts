/** ModRM, SIB and displacement of a memory operand (Intel SDM vol. 2, section 2.1.5, tables 2-1 to 2-3). */
import * as L from "../layout.ts";

/** What address decoding reads and fills; implemented by the decoder. */
export type AddressFields = {
  readonly mode: number;
  readonly rex: number;
  readonly addressSize: 16 | 32 | 64;
  readonly modrm: number;
  base: number;
  index: number;
  scale: number;
  disp: number;
  ripRelative: boolean;
  stackBase: boolean;
  next8(): number;
  next16(): number;
  next32(): number;
};

const { rbx, rbp, rsi, rdi, rsp } = L.REG;
const BASE16 = [rbx, rbx, rbp, rbp, rsi, rdi, rbp, rbx];
const INDEX16 = [rsi, rdi, rsi, rdi, -1, -1, -1, -1];

function read16(d: AddressFields): void {
  const mod = d.modrm >> 6;
  const rm = d.modrm & 7;
  if (mod === 0 && rm === 6) {
    d.disp = d.next16();
    return;
  }
  d.base = BASE16[rm]! * 8;
  d.stackBase = BASE16[rm] === rbp;
  if (INDEX16[rm]! >= 0) d.index = INDEX16[rm]! * 8;
  if (mod === 1) d.disp = (d.next8() << 24) >> 24;
  else if (mod === 2) d.disp = (d.next16() << 16) >> 16;
}

/** Reads the operand behind `d.modrm` (mod ≠ 3). */
export function readAddress(d: AddressFields): void {
  if (d.addressSize === 16) {
    read16(d);
    return;
  }
  const mod = d.modrm >> 6;
  let rm = d.modrm & 7;
  let noBase = false;
  if (rm === 4) {
    const sib = d.next8();
    const index = ((sib >> 3) & 7) | ((d.rex & 2) << 2);
    if (index !== rsp) {
      d.index = index * 8;
      d.scale = sib >> 6;
    }
    rm = sib & 7;
    noBase = mod === 0 && rm === 5;
  } else if (mod === 0 && rm === 5) {
    d.disp = d.next32();
    if (d.mode === 2) {
      d.base = L.RIP_PAGE;
      d.ripRelative = true;
    }
    return;
  }
  if (noBase) {
    d.disp = d.next32();
    return;
  }
  const base = rm | ((d.rex & 1) << 3);
  d.base = base * 8;
  d.stackBase = base === rsp || base === rbp;
  if (mod === 1) d.disp = (d.next8() << 24) >> 24;
  else if (mod === 2) d.disp = d.next32();
}
