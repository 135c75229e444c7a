/** Xen's "x86/HVM direct boot ABI" (docs/misc/pvh.pandoc) and its public header arch-x86/hvm/start_info.h; notes: System V ABI, "Note Section". */
import { describe, expect, test } from "vitest";
import { MIB } from "../base/units.ts";
import type { BootFile, LinuxFacts } from "./boot-plan.ts";
import { loadImage } from "./load-image.ts";

const ENTRY = 0x1000040;
const FACTS = { lowBytes: 64 * MIB, highBytes: 0 };
const RSDP = 0xf0000;

/** One note: sizes, type, name and description, each padded to 4 bytes. */
function note(name: string, type: number, description: number[]): number[] {
  const pad = (bytes: number[]): number[] => [...bytes, ...Array((4 - (bytes.length % 4)) % 4).fill(0)];
  const word = (value: number): number[] => [value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24];
  const text = [...new TextEncoder().encode(name), 0];
  return [...word(text.length), ...word(description.length), ...word(type), ...pad(text), ...pad(description)];
}

const ADDRESS = [0x40, 0x00, 0x00, 0x01];

/** An ELF file at 0x1000000 whose entry point is another one, with these notes in a PT_NOTE segment. */
function kernel(bits: 32 | 64, notes: number[]): Uint8Array {
  const bytes = new Uint8Array(0x2000 + notes.length);
  const view = new DataView(bytes.buffer);
  const wide = bits === 64;
  bytes.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, wide ? 62 : 3, true);
  const [headers, size] = wide ? [64, 56] : [52, 32];
  view.setUint32(24, 0x1000000, true);
  view.setUint32(wide ? 32 : 28, headers, true);
  view.setUint16(wide ? 54 : 42, size, true);
  view.setUint16(wide ? 56 : 44, 2, true);
  const segments = [
    { type: 1, offset: 0x1000, address: 0x1000000, length: 0x100 },
    { type: 4, offset: 0x2000, address: 0, length: notes.length },
  ];
  segments.forEach(({ type, offset, address, length }, i) => {
    const at = headers + i * size;
    const fields = wide ? [0, 8, 16, 24, 32, 40] : [0, 4, 8, 12, 16, 20];
    [type, offset, address, address, length, length].forEach((value, k) => {
      view.setUint32(at + fields[k]!, value, true);
    });
  });
  bytes.set(notes, 0x2000);
  return bytes;
}

const file = (bytes: Uint8Array, args = "", name = "kernel"): BootFile => ({ name, bytes, args });
const load = (bytes: Uint8Array, linux: Partial<LinuxFacts> = {}, args = "") =>
  loadImage(file(bytes, args), [], FACTS, { initrd: null, rsdp: RSDP, ...linux });

const PVH = kernel(64, [
  ...note("GNU", 18, [1, 2, 3, 4]),
  ...note("Xen", 5, [9, 9]),
  ...note("Xen", 18, [...ADDRESS, 0, 0, 0, 0]),
]);

describe("the state at entry", () => {
  test("32-bit protected mode at the address in XEN_ELFNOTE_PHYS32_ENTRY (18) of owner Xen, flat, paging off", () => {
    expect(load(PVH).entry).toMatchObject({ mode: "protected", eip: ENTRY });
    expect(load(kernel(32, note("Xen", 18, ADDRESS))).entry.eip).toBe(ENTRY);
    // Only EBX says anything.
    expect(load(PVH).entry.eax).toBe(0);
  });

  test.each([
    ["another owner", note("Xe", 18, ADDRESS)],
    ["another type", note("Xen", 17, ADDRESS)],
    ["an address that is cut off", note("Xen", 18, ADDRESS).slice(0, -2)],
    ["no notes", []],
  ])("%s: no such entry", (_name, notes) => {
    expect(() => load(kernel(64, notes))).toThrow(/neither a PVH entry nor a multiboot header/);
    const linux = kernel(64, notes);
    linux.set(new TextEncoder().encode("Linux version 6"), 0x1010);
    expect(() => load(linux, { entry: "pvh" })).toThrow(/^kernel: has no PVH entry \([^\n]+\)$/);
  });

  test("a Linux kernel starts this way only when it is asked for", () => {
    const linux = PVH.slice();
    linux.set(new TextEncoder().encode("Linux version 6"), 0x1010);
    expect(load(linux).entry.mode).toBe("long");
    expect(load(linux, { entry: "pvh" }).entry).toMatchObject({ mode: "protected", eip: ENTRY });
  });
});

describe("struct hvm_start_info, in EBX", () => {
  const initrd = file(new Uint8Array(6000).fill(0x33), "", "initrd.img");
  const plan = load(PVH, { initrd }, "quiet");
  const memory = new Uint8Array(FACTS.lowBytes);
  for (const piece of plan.pieces) memory.set(piece.bytes, piece.address);
  const m = new DataView(memory.buffer);
  const info = plan.entry.ebx;
  const u32 = (at: number): number => m.getUint32(at, true);
  const u64 = (at: number): number => u32(at) + u32(at + 4) * 2 ** 32;

  test("magic 0x336ec578, version 1, no flags", () => {
    expect([u32(info), u32(info + 4), u32(info + 8)]).toEqual([0x336ec578, 1, 0]);
  });

  test("one module, the initrd: address and size", () => {
    expect(u32(info + 12)).toBe(1);
    const list = u64(info + 16);
    // struct hvm_modlist_entry: paddr, size, cmdline_paddr, reserved.
    expect([u64(list + 8), u64(list + 16), u64(list + 24)]).toEqual([6000, 0, 0]);
    // Bytes of memory that the kernel takes with it are the kernel's.
    expect(u64(list)).toBeGreaterThanOrEqual(0x1000000 + 0x100);
    expect([memory[u64(list)], memory[u64(list) + 5999]]).toEqual([0x33, 0x33]);
    const none = load(PVH);
    const page = none.pieces.find(({ address }) => address === none.entry.ebx)!.bytes;
    expect([...page.subarray(12, 24)]).toEqual(Array(12).fill(0));
  });

  test("command line, zero-terminated, and the address of the RSDP", () => {
    const at = u64(info + 24);
    expect(new TextDecoder().decode(memory.subarray(at, at + 6))).toBe("quiet\0");
    expect(u64(info + 32)).toBe(RSDP);
  });

  test("memory map of version 1: entries of 24 bytes with E820's types", () => {
    const table = u64(info + 40);
    const map = Array.from({ length: u32(info + 48) }, (_, i) => table + i * 24).map(at => [
      u64(at),
      u64(at + 8),
      u32(at + 16),
    ]);
    expect(map).toContainEqual([MIB, 63 * MIB, 1]);
    expect(map).toContainEqual([0xf0000, 0x10000, 2]);
    // RAM, reserved, ACPI data: as E820 numbers them. The entry's and the structure's last words are reserved.
    expect(new Set(map.map(([, , type]) => type))).toEqual(new Set([1, 2]));
    expect(map.map((_, i) => u32(table + i * 24 + 20))).toEqual(map.map(() => 0));
    expect(u32(info + 52)).toBe(0);
  });
});
