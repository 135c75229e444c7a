/** The registers of whoever called a BIOS service, where the stub (firmware/bios-rom.ts) has left them: on the caller's stack. */
import { BIOS_FRAME } from "../firmware/bios-rom.ts";
import type { PhysAddr } from "../base/units.ts";

/** Memory as the processor sees it in real mode. */
export type BiosMemory = {
  readBlock(address: PhysAddr, into: Uint8Array, offset: number, length: number): boolean;
  writeBlock(address: PhysAddr, from: Uint8Array, offset: number, length: number): boolean;
};

/** Bits of FLAGS that tell how a service ended. */
const FLAG = { carry: 0x0001, zero: 0x0040 } as const;

/** Reused for every call. Values are unsigned. */
export class BiosFrame {
  readonly #memory: BiosMemory;
  readonly #bytes = new Uint8Array(BIOS_FRAME.size);
  readonly #view = new DataView(this.#bytes.buffer);
  #address: PhysAddr = 0;

  constructor(memory: BiosMemory) {
    this.#memory = memory;
  }

  load(address: PhysAddr): void {
    this.#address = address;
    this.#memory.readBlock(address, this.#bytes, 0, BIOS_FRAME.size);
  }

  store(): void {
    this.#memory.writeBlock(this.#address, this.#bytes, 0, BIOS_FRAME.size);
  }

  get vector(): number {
    return this.#bytes[BIOS_FRAME.vector]!;
  }
  get al(): number {
    return this.#bytes[BIOS_FRAME.eax]!;
  }
  set al(value: number) {
    this.#bytes[BIOS_FRAME.eax] = value;
  }
  get ah(): number {
    return this.#bytes[BIOS_FRAME.eax + 1]!;
  }
  set ah(value: number) {
    this.#bytes[BIOS_FRAME.eax + 1] = value;
  }
  get ax(): number {
    return this.#view.getUint16(BIOS_FRAME.eax, true);
  }
  set ax(value: number) {
    this.#view.setUint16(BIOS_FRAME.eax, value, true);
  }
  get eax(): number {
    return this.#view.getUint32(BIOS_FRAME.eax, true);
  }
  set eax(value: number) {
    this.#view.setUint32(BIOS_FRAME.eax, value, true);
  }
  get bx(): number {
    return this.#view.getUint16(BIOS_FRAME.ebx, true);
  }
  set bx(value: number) {
    this.#view.setUint16(BIOS_FRAME.ebx, value, true);
  }
  get ebx(): number {
    return this.#view.getUint32(BIOS_FRAME.ebx, true);
  }
  set ebx(value: number) {
    this.#view.setUint32(BIOS_FRAME.ebx, value, true);
  }
  get cx(): number {
    return this.#view.getUint16(BIOS_FRAME.ecx, true);
  }
  set cx(value: number) {
    this.#view.setUint16(BIOS_FRAME.ecx, value, true);
  }
  get cl(): number {
    return this.#bytes[BIOS_FRAME.ecx]!;
  }
  set cl(value: number) {
    this.#bytes[BIOS_FRAME.ecx] = value;
  }
  get ecx(): number {
    return this.#view.getUint32(BIOS_FRAME.ecx, true);
  }
  set ecx(value: number) {
    this.#view.setUint32(BIOS_FRAME.ecx, value, true);
  }
  get dx(): number {
    return this.#view.getUint16(BIOS_FRAME.edx, true);
  }
  set dx(value: number) {
    this.#view.setUint16(BIOS_FRAME.edx, value, true);
  }
  get edx(): number {
    return this.#view.getUint32(BIOS_FRAME.edx, true);
  }
  set edx(value: number) {
    this.#view.setUint32(BIOS_FRAME.edx, value, true);
  }
  get si(): number {
    return this.#view.getUint16(BIOS_FRAME.esi, true);
  }
  get di(): number {
    return this.#view.getUint16(BIOS_FRAME.edi, true);
  }
  set edi(value: number) {
    this.#view.setUint32(BIOS_FRAME.edi, value, true);
  }
  get bp(): number {
    return this.#view.getUint16(BIOS_FRAME.ebp, true);
  }
  get es(): number {
    return this.#view.getUint16(BIOS_FRAME.es, true);
  }

  set carry(on: boolean) {
    this.#flag(FLAG.carry, on);
  }
  set zero(on: boolean) {
    this.#flag(FLAG.zero, on);
  }

  /** The usual answer of a function that is not there. */
  unsupported(ah: number): void {
    this.ah = ah;
    this.carry = true;
  }

  #flag(mask: number, on: boolean): void {
    const flags = this.#view.getUint16(BIOS_FRAME.flags, true);
    this.#view.setUint16(BIOS_FRAME.flags, on ? flags | mask : flags & ~mask, true);
  }
}
