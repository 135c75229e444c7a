/**
 * QEMU firmware configuration device: items of bytes that a guest selects by number and reads through a port or by DMA. QEMU documentation,
 * docs/specs/fw_cfg.rst. Selector at port 0x510 (16 bits), data at 0x511, DMA address at 0x514 (64 bits, big endian).
 *
 * Items: signature, features, memory size, CPU count, file directory, files (`etc/e820` made from the memory map). Items are configuration, not state.
 * Not modelled: writable items (a DMA write gives the error bit, as QEMU gives for its read-only items), the other numbered legacy items.
 */
import { assert, HostError } from "../base/assert.ts";
import { BUS_STATUS, type Initiator } from "../ports/initiator.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";
import {
  FW_CFG_DMA,
  FW_CFG_FEATURES,
  FW_CFG_FILE_ENTRY,
  FW_CFG_FILE_NAME,
  FW_CFG_KEY,
  FW_CFG_WRITE_BIT,
} from "./fw-cfg.regs.ts";

/** One range of the memory map; `type` as in ACPI's INT 15h E820h (1 RAM, 2 reserved, …). */
export type E820Range = { readonly base: number; readonly length: number; readonly type: number };

export type FwCfgOptions = {
  readonly name?: string;
  readonly cpus: number;
  /** Most CPUs that the machine could have; `cpus` when left out. */
  readonly maxCpus?: number;
  /** Bytes of RAM. */
  readonly memory: number;
  readonly e820: readonly E820Range[];
  /** Further files by name (at most 55 ASCII characters). */
  readonly files?: Readonly<Record<string, Uint8Array>>;
  /** For the DMA interface; without it the device says that it has none. */
  readonly initiator?: Initiator | null;
};

export type FwCfgState = { selector: number; offset: number; dmaHigh: number };

const OPEN = 0xff;
const COPY_CHUNK = 4096;
const SIGNATURE = "QEMU";
/** What the DMA address register reads, in address order. */
const DMA_SIGNATURE = "QEMU CFG";
const ZEROS = new Uint8Array(COPY_CHUNK);

const ascii = (text: string): Uint8Array => Uint8Array.from(text, c => c.charCodeAt(0));
const little = (value: number, size: number): Uint8Array =>
  Uint8Array.from({ length: size }, (_, i) => Math.floor(value / 2 ** (8 * i)) % 256);
const byteSwap = (value: number): number =>
  (((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;

export class FwCfg implements Part {
  readonly name: string;
  readonly state: FwCfgState = { selector: 0, offset: 0, dmaHigh: 0 };
  /** Ports 0x510-0x511. */
  readonly window: Window;
  /** Ports 0x514-0x51B. */
  readonly dmaWindow: Window;
  readonly #items = new Map<number, Uint8Array>();
  readonly #initiator: Initiator | null;
  readonly #descriptor = new DataView(new ArrayBuffer(16));

  constructor(options: FwCfgOptions) {
    this.name = options.name ?? "fw-cfg";
    this.#initiator = options.initiator ?? null;
    this.#fill(options);
    this.window = {
      name: this.name,
      size: 2,
      minWidth: 1,
      maxWidth: 2,
      read: (offset, width) => this.#read(offset, width),
      write: (_offset, width, value) => {
        // Only a 16-bit write reaches the selector; the data register takes no writes.
        if (width === 2) this.#select(value & 0xffff);
      },
      describe: offset => (offset === 0 ? "fw_cfg selector" : "fw_cfg data"),
    };
    this.dmaWindow = {
      name: `${this.name} DMA`,
      size: 8,
      minWidth: 4,
      maxWidth: 4,
      narrowWrites: "drop",
      read: offset => this.#readDma(offset),
      write: (offset, _width, value) => this.#writeDma(offset, value),
      describe: offset => (offset === 0 ? "fw_cfg DMA address high" : "fw_cfg DMA address low"),
    };
  }

  reset(phase: ResetPhase, _kind: ResetKind): void {
    if (phase === "enter") Object.assign(this.state, { selector: 0, offset: 0, dmaHigh: 0 });
  }

  #fill(options: FwCfgOptions): void {
    const { cpus, memory } = options;
    const features = FW_CFG_FEATURES.traditional.mask | (this.#initiator === null ? 0 : FW_CFG_FEATURES.dma.mask);
    this.#items.set(FW_CFG_KEY.signature, ascii(SIGNATURE));
    this.#items.set(FW_CFG_KEY.id, little(features, 4));
    this.#items.set(FW_CFG_KEY.ramSize, little(memory, 8));
    this.#items.set(FW_CFG_KEY.cpus, little(cpus, 2));
    this.#items.set(FW_CFG_KEY.maxCpus, little(options.maxCpus ?? cpus, 2));
    const e820 = options.e820.flatMap(({ base, length, type }) => [
      ...little(base, 8),
      ...little(length, 8),
      ...little(type, 4),
    ]);
    const files = { "etc/e820": Uint8Array.from(e820), ...options.files };
    this.#items.set(FW_CFG_KEY.fileDirectory, this.#addFiles(files));
  }

  /** Files get keys in the order of their names; returns the directory. */
  #addFiles(files: Readonly<Record<string, Uint8Array>>): Uint8Array {
    const names = Object.keys(files).sort();
    const directory = new Uint8Array(4 + names.length * FW_CFG_FILE_ENTRY);
    const view = new DataView(directory.buffer);
    view.setUint32(0, names.length);
    names.forEach((name, i) => {
      if (name.length >= FW_CFG_FILE_NAME) throw new HostError(`fw_cfg: file name too long: ${name}`, 64);
      const content = files[name]!;
      const at = 4 + i * FW_CFG_FILE_ENTRY;
      view.setUint32(at, content.length);
      view.setUint16(at + 4, FW_CFG_KEY.firstFile + i);
      directory.set(ascii(name), at + 8);
      this.#items.set(FW_CFG_KEY.firstFile + i, content);
    });
    return directory;
  }

  #select(key: number): void {
    this.state.selector = key;
    this.state.offset = 0;
  }

  /** The selected item; undefined when there is none of that number. */
  #item(): Uint8Array | undefined {
    return this.#items.get(this.state.selector & ~FW_CFG_WRITE_BIT);
  }

  #read(offset: number, width: number): number {
    if (width === 2) return (this.#data() << 8) | OPEN;
    return offset === 0 ? OPEN : this.#data();
  }

  /** "After the data offset has passed the end, any reads will return a data value of 0x00." */
  #data(): number {
    const item = this.#item();
    if (item === undefined || this.state.offset >= item.length) return 0;
    return item[this.state.offset++]!;
  }

  #readDma(offset: number): number {
    if (this.#initiator === null) return 0xffffffff;
    let value = 0;
    for (let i = 3; i >= 0; i--) value = value * 256 + DMA_SIGNATURE.charCodeAt(offset + i);
    return value;
  }

  /** "A write to the least significant half (at offset 4) triggers an operation." */
  #writeDma(offset: number, value: number): void {
    if (this.#initiator === null) return;
    if (offset === 0) {
      this.state.dmaHigh = byteSwap(value);
      return;
    }
    const address = this.state.dmaHigh * 0x100000000 + byteSwap(value);
    this.state.dmaHigh = 0;
    if (Number.isSafeInteger(address)) this.#runDma(this.#initiator, address);
  }

  #runDma(initiator: Initiator, at: number): void {
    const descriptor = this.#descriptor;
    const bytes = new Uint8Array(descriptor.buffer);
    if (initiator.read(at, bytes, 0, bytes.length) !== BUS_STATUS.ok) return;
    const control = descriptor.getUint32(0);
    const length = descriptor.getUint32(4);
    const address = descriptor.getUint32(8) * 0x100000000 + descriptor.getUint32(12);
    if (FW_CFG_DMA.select.on(control)) this.#select(FW_CFG_DMA.selector.of(control));
    let ok = true;
    if (FW_CFG_DMA.read.on(control)) ok = this.#copyOut(initiator, address, length);
    else if (FW_CFG_DMA.write.on(control)) ok = false;
    else if (FW_CFG_DMA.skip.on(control)) this.#skip(length);
    descriptor.setUint32(0, ok ? 0 : FW_CFG_DMA.error.mask);
    initiator.write(at, bytes, 0, 4);
  }

  #skip(length: number): void {
    const size = this.#item()?.length ?? 0;
    this.state.offset = Math.min(size, this.state.offset + length);
  }

  /** Copies the rest of the item, then zeros. False when the bus refuses. */
  #copyOut(initiator: Initiator, address: number, length: number): boolean {
    if (!Number.isSafeInteger(address + length)) return false;
    const item = this.#item();
    const start = this.state.offset;
    let done = 0;
    while (done < length) {
      const left = item === undefined ? 0 : item.length - start - done;
      const chunk = Math.min(length - done, left > 0 ? left : Number.MAX_SAFE_INTEGER, COPY_CHUNK);
      assert(chunk > 0, "fw_cfg: copies nothing");
      const from = left > 0 ? item!.subarray(start + done, start + done + chunk) : ZEROS;
      if (initiator.write(address + done, from, 0, chunk) !== BUS_STATUS.ok) return false;
      done += chunk;
    }
    this.#skip(length);
    return true;
  }
}
