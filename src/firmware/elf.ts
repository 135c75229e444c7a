/**
 * Reads ELF32 and ELF64 executables for x86 (System V ABI, "Object Files"; its chapters "ELF Header", "Sections", "Program Header"). Everything that the
 * file says about itself is checked against its length. Not supported: relocation, dynamic linking, big endian.
 */
import { HostError } from "../base/assert.ts";
import { alignUp } from "../base/int.ts";
import type { PhysAddr } from "../base/units.ts";

export type ElfSegment = {
  readonly fileOffset: number;
  readonly fileSize: number;
  readonly virtual: number;
  readonly physical: PhysAddr;
  readonly memorySize: number;
  readonly executable: boolean;
};

export type ElfSection = {
  readonly nameOffset: number;
  readonly type: number;
  readonly flags: number;
  readonly address: number;
  readonly fileOffset: number;
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly alignment: number;
  readonly entrySize: number;
};

export type ElfFile = {
  readonly bits: 32 | 64;
  readonly entry: number;
  readonly segments: readonly ElfSegment[];
  /** Where notes stand in the file. */
  readonly notes: readonly { readonly fileOffset: number; readonly fileSize: number }[];
  readonly sections: readonly ElfSection[];
  /** Index of the section that holds the sections' names. */
  readonly namesIndex: number;
};

export const SHT = { symtab: 2, strtab: 3, nobits: 8 } as const;
export const SHF_ALLOC = 2;
const ET_EXEC = 2;
const ET_DYN = 3;
const EM_386 = 3;
const EM_X86_64 = 62;
const PT_LOAD = 1;
const PT_NOTE = 4;
const PF_X = 1;

/** True when the file claims to be an ELF file. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

/** Reads the file's own claims with bounds checks; `fail` names the file. */
class Reader {
  readonly #view: DataView;
  readonly #name: string;
  constructor(bytes: Uint8Array, name: string) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#name = name;
  }
  fail(what: string): never {
    throw new HostError(`${this.#name}: ${what}`, 66);
  }
  need(offset: number, length: number, what: string): void {
    if (offset + length > this.#view.byteLength) {
      this.fail(`truncated: its ${what} would end at byte ${offset + length} of ${this.#view.byteLength}`);
    }
  }
  u8(offset: number): number {
    return this.#view.getUint8(offset);
  }
  u16(offset: number): number {
    return this.#view.getUint16(offset, true);
  }
  u32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }
  /** A word of the file's class. Virtual addresses of the upper half lose their lowest bits in a double; no caller needs them. */
  word(offset: number, bits: 32 | 64): number {
    return bits === 32 ? this.u32(offset) : this.u32(offset) + this.u32(offset + 4) * 0x100000000;
  }
}

/** Parses and checks; throws {@link HostError} with status 66. */
export function parseElf(bytes: Uint8Array, name: string): ElfFile {
  const r = new Reader(bytes, name);
  if (!isElf(bytes)) r.fail("not an ELF file");
  r.need(0, 52, "ELF header");
  const bits = r.u8(4) === 1 ? 32 : r.u8(4) === 2 ? 64 : r.fail(`ELF class ${r.u8(4)} is neither 32 nor 64 bits`);
  if (r.u8(5) !== 1) r.fail("is a big-endian ELF file");
  r.need(0, bits === 32 ? 52 : 64, "ELF header");
  const type = r.u16(16);
  const machine = r.u16(18);
  if (machine !== EM_386 && machine !== EM_X86_64)
    r.fail(`is an ELF file for another processor (e_machine ${machine})`);
  if (type !== ET_EXEC && type !== ET_DYN) r.fail(`is no executable ELF file (e_type ${type}; was it linked?)`);
  const at = bits === 32 ? { entry: 24, ph: 28, sh: 32, sizes: 42 } : { entry: 24, ph: 32, sh: 40, sizes: 54 };
  const header = {
    ph: r.word(at.ph, bits),
    phSize: r.u16(at.sizes),
    phCount: r.u16(at.sizes + 2),
    sh: r.word(at.sh, bits),
    shSize: r.u16(at.sizes + 4),
    shCount: r.u16(at.sizes + 6),
  };
  const segments: ElfSegment[] = [];
  const notes: { fileOffset: number; fileSize: number }[] = [];
  if (header.phCount > 0) {
    if (header.phSize < (bits === 32 ? 32 : 56)) r.fail(`has program headers of ${header.phSize} bytes`);
    r.need(header.ph, header.phCount * header.phSize, "program headers");
  }
  for (let i = 0; i < header.phCount; i++) {
    const at = header.ph + i * header.phSize;
    const type = r.u32(at);
    if (type !== PT_LOAD && type !== PT_NOTE) continue;
    const segment = parseSegment(r, at, bits, i);
    if (type === PT_NOTE) notes.push(segment);
    else if (segment.memorySize > 0) segments.push(segment);
  }
  const sections: ElfSection[] = [];
  // Section headers are for debuggers: a file that was cut behind its segments still boots.
  const hasSections =
    header.shSize >= (bits === 32 ? 40 : 64) && header.sh + header.shCount * header.shSize <= bytes.length;
  if (hasSections) {
    for (let i = 0; i < header.shCount; i++) sections.push(parseSection(r, header.sh + i * header.shSize, bits));
  }
  const namesIndex = hasSections ? r.u16(at.sizes + 8) : 0;
  return { bits, entry: r.word(at.entry, bits), segments, notes, sections, namesIndex };
}

function parseSegment(r: Reader, at: number, bits: 32 | 64, index: number): ElfSegment {
  const wide = bits === 64;
  const segment: ElfSegment = {
    fileOffset: r.word(at + (wide ? 8 : 4), bits),
    virtual: r.word(at + (wide ? 16 : 8), bits),
    physical: r.word(at + (wide ? 24 : 12), bits),
    fileSize: r.word(at + (wide ? 32 : 16), bits),
    memorySize: r.word(at + (wide ? 40 : 20), bits),
    executable: (r.u32(at + (wide ? 4 : 24)) & PF_X) !== 0,
  };
  if (segment.memorySize === 0) return segment;
  if (segment.fileSize > segment.memorySize) r.fail(`segment ${index} has more bytes in the file than in memory`);
  r.need(segment.fileOffset, segment.fileSize, `segment ${index}`);
  return segment;
}

function parseSection(r: Reader, at: number, bits: 32 | 64): ElfSection {
  const wide = bits === 64;
  return {
    nameOffset: r.u32(at),
    type: r.u32(at + 4),
    flags: r.word(at + 8, bits),
    address: r.word(at + (wide ? 16 : 12), bits),
    fileOffset: r.word(at + (wide ? 24 : 16), bits),
    size: r.word(at + (wide ? 32 : 20), bits),
    link: r.u32(at + (wide ? 40 : 24)),
    info: r.u32(at + (wide ? 44 : 28)),
    alignment: r.word(at + (wide ? 48 : 32), bits),
    entrySize: r.word(at + (wide ? 56 : 36), bits),
  };
}

/** Physical address of the entry point: the header's is virtual, so it moves with the segment that it lies in. */
export function physicalEntry(elf: ElfFile): PhysAddr {
  for (const segment of elf.segments) {
    const offset = elf.entry - segment.virtual;
    if (offset >= 0 && offset < segment.memorySize && segment.executable) return segment.physical + offset;
  }
  return elf.entry;
}

/** The first 32 bits of a note's description ("Note Section"), or null when the file has no such note. */
export function noteWord(bytes: Uint8Array, elf: ElfFile, name: string, type: number): number | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wanted = `${name}\0`;
  for (const { fileOffset, fileSize } of elf.notes) {
    for (let at = fileOffset, end = fileOffset + fileSize; at + 12 <= end; ) {
      const nameSize = view.getUint32(at, true);
      const size = view.getUint32(at + 4, true);
      const description = at + 12 + alignUp(nameSize, 4);
      if (description + size > end) break;
      const found = String.fromCharCode(...bytes.subarray(at + 12, at + 12 + Math.min(nameSize, wanted.length)));
      if (view.getUint32(at + 8, true) === type && found === wanted && size >= 4)
        return view.getUint32(description, true);
      at = description + alignUp(size, 4);
    }
  }
  return null;
}
