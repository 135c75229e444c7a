/**
 * A remapping unit with 16 MiB of memory around it, and tables written by hand as VT-d's chapter 9 draws them. Test code.
 */
import { EVENT } from "../ports/events.ts";
import { InterruptMessage, type MessageBus, type MsiTarget } from "../ports/message.ts";
import { Clock } from "../sim/clock.ts";
import { Trace } from "../sim/trace.ts";
import type { TableMemory } from "./table-memory.ts";
import type { VtdFeatures } from "./vtd-capabilities.ts";
import { Vtd } from "./vtd.ts";

export const MEMORY_BYTES = 16 << 20;

/** Little-endian memory; nothing lies above its end. */
export class FlatMemory implements TableMemory {
  low = 0;
  high = 0;
  readonly view = new DataView(new ArrayBuffer(MEMORY_BYTES));
  /** Reads that were asked for, whether or not memory answered. */
  reads = 0;

  read64(address: number): boolean {
    this.reads++;
    if (address + 8 > MEMORY_BYTES) return false;
    this.low = this.view.getUint32(address, true);
    this.high = this.view.getUint32(address + 4, true);
    return true;
  }
  write64(address: number, low: number, high: number): boolean {
    if (address + 8 > MEMORY_BYTES) return false;
    this.view.setUint32(address, low, true);
    this.view.setUint32(address + 4, high, true);
    return true;
  }
  write32(address: number, value: number): boolean {
    if (address + 4 > MEMORY_BYTES) return false;
    this.view.setUint32(address, value, true);
    return true;
  }
  /** @param value 64 bits */
  put(address: number, value: bigint): void {
    this.view.setBigUint64(address, BigInt.asUintN(64, value), true);
  }
  get(address: number): bigint {
    return this.view.getBigUint64(address, true);
  }
}

/** Keeps what was sent. */
export class Messages implements MessageBus {
  readonly sent: InterruptMessage[] = [];
  send(message: InterruptMessage): number {
    this.sent.push(Object.assign(new InterruptMessage(), message));
    return 1;
  }
}

export const ROOT_TABLE = 0x1000;
export const CONTEXT_TABLE = 0x2000;
/** Where {@link VtdRig.table} takes pages from. */
const FIRST_FREE = 0x10_0000;
/** Device 3, function 1 of bus 0. */
export const DEVICE = 0x0019;
export const DOMAIN = 7;

/** Offsets by number, as the document gives them, independent of vtd.regs.ts. */
export const REG = {
  GCMD: 0x18,
  GSTS: 0x1c,
  RTADDR: 0x20,
  CCMD: 0x28,
  FSTS: 0x34,
  FECTL: 0x38,
  FEDATA: 0x3c,
  FEADDR: 0x40,
  FEUADDR: 0x44,
  PMEN: 0x64,
  IQH: 0x80,
  IQT: 0x88,
  IQA: 0x90,
  ICS: 0x9c,
  IECTL: 0xa0,
  IEDATA: 0xa4,
  IEADDR: 0xa8,
  IQERCD: 0xb0,
  IRTA: 0xb8,
  FRCD: 0x400,
  IVA: 0x500,
  IOTLB: 0x508,
} as const;

export class VtdRig {
  readonly memory = new FlatMemory();
  readonly bus = new Messages();
  readonly plain: number[][] = [];
  readonly trace = new Trace(new Clock());
  readonly unit: Vtd;
  readonly events: number[][] = [];
  #free = FIRST_FREE;
  #gcmd = 0;

  constructor(features: Partial<VtdFeatures> = {}) {
    const msi: MsiTarget = { msi: (address, data, requester) => void this.plain.push([address, data, requester]) };
    const all = { hostBits: 40, levels: 4, scalable: false, interrupts: true, ...features };
    this.unit = new Vtd({ ...all, memory: this.memory, bus: this.bus, msi, trace: this.trace });
    this.unit.reset("enter", "power");
  }

  read(offset: number): number {
    return this.unit.read(offset);
  }
  read64(offset: number): bigint {
    return (BigInt(this.unit.read(offset + 4)) << 32n) | BigInt(this.unit.read(offset));
  }
  write(offset: number, value: number): void {
    this.unit.write(offset, 4, value >>> 0);
  }
  /** Low word first, as a bus that splits does. */
  write64(offset: number, value: bigint): void {
    this.write(offset, Number(value & 0xffff_ffffn));
    this.write(offset + 4, Number((value >> 32n) & 0xffff_ffffn));
  }
  /** A one-shot command, or (`keep`) one that stays on. */
  command(bit: number, keep = false): void {
    if (keep) this.#gcmd = (this.#gcmd | (1 << bit)) >>> 0;
    this.write(REG.GCMD, (this.#gcmd | (1 << bit)) >>> 0);
  }
  off(bit: number): void {
    this.#gcmd = (this.#gcmd & ~(1 << bit)) >>> 0;
    this.write(REG.GCMD, this.#gcmd);
  }

  /** An empty page of tables. */
  table(pages = 1): number {
    const at = this.#free;
    this.#free += 4096 * pages;
    return at;
  }

  /** Translation on, with `root` in RTADDR. */
  enable(root = BigInt(ROOT_TABLE)): void {
    this.write64(REG.RTADDR, root);
    this.command(30);
    this.command(31, true);
  }

  /** Root entry of bus 0, and a context entry. @param low its bits 63:0 @param high its bits 127:64 */
  context(low: bigint, high: bigint, device = DEVICE): void {
    this.memory.put(ROOT_TABLE + 16 * (device >> 8), BigInt(CONTEXT_TABLE) | 1n);
    this.memory.put(CONTEXT_TABLE + 16 * (device & 0xff), low);
    this.memory.put(CONTEXT_TABLE + 16 * (device & 0xff) + 8, high);
  }

  /** A device with second-level tables of 4 levels, translation on. Returns the top table. */
  translated(): number {
    const top = this.table();
    this.context(BigInt(top) | 1n, (BigInt(DOMAIN) << 8n) | 2n);
    this.enable();
    return top;
  }

  /** Writes the entry for `iova` at `level` (1: 4 KiB), making read-write tables on the way. Returns the entry's address. */
  map(top: number, iova: number, entry: bigint, level = 1, levels = 4): number {
    let table = top;
    for (let l = levels; ; l--) {
      const at = table + 8 * (Math.floor(iova / 2 ** (12 + 9 * (l - 1))) % 512);
      if (l === level) {
        this.memory.put(at, entry);
        return at;
      }
      if (this.memory.get(at) === 0n) this.memory.put(at, BigInt(this.table()) | 3n);
      table = Number(this.memory.get(at) & 0xf_ffff_ffff_f000n);
    }
  }

  /** @param access 1 read, 2 write */
  translate(iova: number, access: number, device = DEVICE, length = 4): number {
    return this.unit.dma.translate(device, iova, access, length, 0);
  }

  /** Fault reasons recorded, oldest first, and cleared as a driver does. */
  faults(): number[] {
    const found: number[] = [];
    let index = (this.read(REG.FSTS) >>> 8) & 0xff;
    for (let n = 0; n < 8; n++, index = (index + 1) % 8) {
      const top = this.read(REG.FRCD + 16 * index + 12);
      if (top >>> 31 === 0) continue;
      found.push(top & 0xff);
      this.write(REG.FRCD + 16 * index + 12, 0x8000_0000);
    }
    this.write(REG.FSTS, 0xff);
    return found;
  }

  /** Interrupt remapping on with a table of 256 entries. Returns the table. @param extended x2APIC mode */
  remapping(extended = false): number {
    const table = this.table();
    this.write64(REG.IRTA, BigInt(table) | 7n | (extended ? 0x800n : 0n));
    this.command(24);
    this.command(25, true);
    return table;
  }

  /** The queue on, with one page of 128-bit descriptors. Returns a function that adds one and moves the tail. */
  queue(): (low: bigint, high?: bigint) => void {
    const base = this.table();
    this.write64(REG.IQA, BigInt(base));
    this.command(26, true);
    return (low, high = 0n) => {
      const tail = this.read(REG.IQT);
      this.memory.put(base + tail, low);
      this.memory.put(base + tail + 8, high);
      this.write(REG.IQT, (tail + 16) % 4096);
    };
  }

  listen(kind: keyof typeof EVENT): void {
    const event = (_t: number, _k: number, subject: number, a: number, b: number, c: number): void =>
      void this.events.push([subject, a, b, c]);
    this.trace.listen({ event }, [EVENT[kind]]);
  }
}
