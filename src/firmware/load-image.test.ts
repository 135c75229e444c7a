import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HostError } from "../base/assert.ts";
import { MIB } from "../base/units.ts";
import type { BootFile, BootPlan, MemoryFacts } from "./boot-plan.ts";
import { loadImage } from "./load-image.ts";
import { TableWriter } from "./table-writer.ts";

const FACTS: MemoryFacts = { lowBytes: 16 * MIB, highBytes: 0 };
const file = (bytes: Uint8Array, args = "", name = "kernel"): BootFile => ({ name, bytes, args });

/** The memory after a plan, and words of it. */
class Memory {
  readonly bytes = new Uint8Array(FACTS.lowBytes);
  readonly view = new DataView(this.bytes.buffer);
  constructor(plan: BootPlan) {
    for (const piece of plan.pieces) this.bytes.set(piece.bytes, piece.address);
  }
  u32(address: number): number {
    return this.view.getUint32(address, true);
  }
  text(address: number): string {
    return new TextDecoder().decode(this.bytes.subarray(address, this.bytes.indexOf(0, address)));
  }
}

/** Multiboot 1 header, Multiboot 0.6.96, 3.1: magic, flags, checksum. */
const header1 = (flags: number): number[] => [0x1badb002, flags, -(0x1badb002 + flags) >>> 0];

/** An ELF32 file with one segment of `code` at `physical`, linked at `virtual`; `head` lies at file offset 0x60. */
function elf32(head: number[], options: { physical?: number; virtual?: number; memory?: number } = {}): Uint8Array {
  const physical = options.physical ?? 0x100000;
  const virtual = options.virtual ?? physical;
  const w = new TableWriter();
  w.u8(0x7f, 0x45, 0x4c, 0x46, 1, 1, 1, 0).u32(0, 0);
  w.u16(2, 3)
    .u32(1, virtual + 4, 52, 0, 0)
    .u16(52, 32, 1, 40, 0, 0);
  w.u32(1, 0x60, virtual, physical, 0x40, options.memory ?? 0x1000, 5, 0x1000);
  w.align(0x20);
  while (w.length < 0x60) w.u8(0);
  w.u32(...head);
  while (w.length < 0xa0) w.u8(0x90);
  return w.done();
}

/** The same as ELF64 (System V ABI, ELF-64 object file format). */
function elf64(head: number[]): Uint8Array {
  const w = new TableWriter();
  w.u8(0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0).u32(0, 0);
  w.u16(2, 62).u32(1).u64(0x200010, 64, 0).u32(0).u16(64, 56, 1, 64, 0, 0);
  w.u32(1, 5).u64(0x80, 0x200000, 0x200000, 0x40, 0x40, 0x1000);
  while (w.length < 0x80) w.u8(0);
  w.u32(...head);
  while (w.length < 0xc0) w.u8(0x90);
  return w.done();
}

/** A multiboot2 header with these tags (Multiboot2 2.0, 3.1.1); the caller pads. */
function header2(...tags: number[][]): number[] {
  const words = [...tags.flat(), 0, 8];
  const length = 16 + words.length * 4;
  return [0xe85250d6, 0, length, -(0xe85250d6 + length) >>> 0, ...words];
}

function refusal(bytes: Uint8Array, facts = FACTS, modules: BootFile[] = []): string {
  try {
    loadImage(file(bytes), modules, facts);
  } catch (error) {
    expect(error).toBeInstanceOf(HostError);
    expect((error as HostError).status).toBe(66);
    expect((error as HostError).message).not.toContain("\n");
    return (error as HostError).message;
  }
  throw new Error("was not refused");
}

describe("multiboot 1 (0.6.96)", () => {
  const plan = loadImage(
    file(elf32(header1(3)), "console=ttyS0 x=1"),
    [file(Uint8Array.of(1, 2, 3), "arg", "initrd"), file(new Uint8Array(5000), "", "second")],
    FACTS,
  );
  const memory = new Memory(plan);
  const info = plan.entry.ebx;

  test("3.2: EAX holds 0x2BADB002, EBX the information, the segments are flat 32-bit ones, the entry is the ELF entry", () => {
    expect(plan.kind).toBe("multiboot1");
    expect(plan.entry.eax).toBe(0x2badb002);
    expect(plan.entry.eip).toBe(0x100004);
    expect(plan.entry.mode).toBe("protected");
    expect(memory.u32(plan.entry.gdtBase + plan.entry.cs)).toBe(0x0000ffff);
    expect(memory.u32(plan.entry.gdtBase + plan.entry.cs + 4)).toBe(0x00cf9b00);
    expect(memory.u32(plan.entry.gdtBase + plan.entry.ds + 4)).toBe(0x00cf9300);
    expect(plan.entry.gdtLimit).toBe(23);
  });

  test("3.3: memory sizes, command line, loader name", () => {
    expect(memory.u32(info)).toBe(0x24d);
    expect(memory.u32(info + 4)).toBe(639);
    expect(memory.u32(info + 8)).toBe(15 * 1024);
    expect(memory.text(memory.u32(info + 16))).toBe("kernel console=ttyS0 x=1");
    expect(memory.text(memory.u32(info + 64))).toBe("iretq");
  });

  test("3.3: modules lie on pages behind the kernel's bss, with their strings", () => {
    expect(memory.u32(info + 20)).toBe(2);
    const list = memory.u32(info + 24);
    expect([memory.u32(list), memory.u32(list + 4)]).toEqual([0x101000, 0x101003]);
    expect(memory.text(memory.u32(list + 8))).toBe("initrd arg");
    expect([...memory.bytes.subarray(0x101000, 0x101004)]).toEqual([1, 2, 3, 0]);
    expect([memory.u32(list + 16), memory.u32(list + 20)]).toEqual([0x102000, 0x102000 + 5000]);
    expect(memory.text(memory.u32(list + 24))).toBe("second");
  });

  test("3.3: the memory map's entries have their size before them and cover usable memory", () => {
    const length = memory.u32(info + 44);
    const map = memory.u32(info + 48);
    const usable: [number, number][] = [];
    for (let at = map; at < map + length; at += memory.u32(at) + 4) {
      expect(memory.u32(at)).toBe(20);
      if (memory.u32(at + 20) === 1) usable.push([memory.u32(at + 4), memory.u32(at + 12)]);
    }
    expect(usable).toEqual([
      [0, 0x9fc00],
      [0x100000, 15 * MIB],
    ]);
  });

  test("the entry point moves with its segment when virtual and physical addresses differ", () => {
    const high = loadImage(file(elf32(header1(0), { physical: 0x300000, virtual: 0xc0300000 })), [], FACTS);
    expect(high.entry.eip).toBe(0x300004);
  });

  test("a 64-bit ELF file starts in the same state", () => {
    const plan64 = loadImage(file(elf64(header1(0))), [], FACTS);
    expect(plan64.entry.eip).toBe(0x200010);
    expect(plan64.entry.eax).toBe(0x2badb002);
  });

  test("3.1.3: with flag 16 the header's addresses rule and no ELF is needed", () => {
    const w = new TableWriter().u32(0, 0, ...header1(0x10000), 0x400008, 0x400000, 0x400030, 0x400100, 0x400028);
    while (w.length < 0x40) w.u8(0xcc);
    const raw = loadImage(file(w.done()), [], FACTS);
    const piece = raw.pieces.find(p => p.what === "image")!;
    expect([piece.address, piece.bytes.length, piece.size, raw.entry.eip]).toEqual([0x400000, 0x30, 0x100, 0x400028]);
  });

  test("a requirement (bits 0–15) that is not met is refused", () => {
    expect(refusal(elf32(header1(0x8)))).toMatch(/requires features/);
  });
});

describe("multiboot 2 (2.0)", () => {
  test("3.3 and 3.6: entry state and information tags, each on 8 bytes, total size first", () => {
    const plan = loadImage(file(elf32(header2()), "a=b"), [file(Uint8Array.of(7), "", "mod")], FACTS);
    expect(plan.entry.eax).toBe(0x36d76289);
    const memory = new Memory(plan);
    const info = plan.entry.ebx;
    expect(info % 8).toBe(0);
    const tags = new Map<number, number>();
    let at = info + 8;
    for (; memory.u32(at) !== 0; at += Math.ceil(memory.u32(at + 4) / 8) * 8) tags.set(memory.u32(at), at);
    expect(at + 8 - info).toBe(memory.u32(info));
    expect([...tags.keys()]).toEqual([1, 2, 3, 4, 6]);
    expect(memory.text(tags.get(1)! + 8)).toBe("kernel a=b");
    expect(memory.text(tags.get(3)! + 16)).toBe("mod");
    expect(memory.bytes[memory.u32(tags.get(3)! + 8)]).toBe(7);
    expect(memory.u32(tags.get(4)! + 8)).toBe(639);
    expect(memory.u32(tags.get(6)! + 8)).toBe(24);
  });

  test("3.1.6: an entry tag overrides the ELF entry", () => {
    const plan = loadImage(file(elf32(header2([3, 12, 0x100020, 0]))), [], FACTS);
    expect(plan.entry.eip).toBe(0x100020);
  });

  test("3.1.4: required information that this PC has not is refused, optional is not", () => {
    expect(refusal(elf32(header2([1, 12, 8, 0])))).toMatch(/boot information of type 8/);
    expect(loadImage(file(elf32(header2([1 | 0x10000, 12, 8, 0]))), [], FACTS).kind).toBe("multiboot2");
  });

  test("3.1.10: a required frame buffer is refused", () => {
    expect(refusal(elf32(header2([5, 20, 0, 0, 32, 0])))).toMatch(/requires tag 5/);
  });
});

describe("flat images", () => {
  test("boot sectors start at 0000:7C00 in real mode with DL = 0x80, interrupts return", () => {
    const image = new Uint8Array(1024).fill(0x90);
    image[510] = 0x55;
    image[511] = 0xaa;
    const plan = loadImage(file(image), [], FACTS);
    const memory = new Memory(plan);
    expect(plan.entry).toMatchObject({ mode: "real", cs: 0, eip: 0x7c00, edx: 0x80 });
    expect(memory.bytes[0x7c00]).toBe(0x90);
    expect(memory.bytes[0x7c00 + 1023]).toBe(0x90);
    const vector = memory.u32(0x60 * 4);
    expect(memory.bytes[(vector >>> 16) * 16 + (vector & 0xffff)]).toBe(0xcf);
  });
});

describe("what cannot be loaded is refused in one plain line", () => {
  const linux = new Uint8Array(1024);
  linux[510] = 0x55;
  linux[511] = 0xaa;
  linux.set([0x48, 0x64, 0x72, 0x53], 0x202);
  const cut = new Uint8Array(700);
  cut[510] = 0x55;
  cut[511] = 0xaa;
  test.each([
    ["empty", new Uint8Array(), /is empty/],
    ["text", new TextEncoder().encode("hello"), /not an ELF file/],
    ["ELF32 without header", elf32([]), /32-bit ELF file, but has neither a PVH entry nor a multiboot header/],
    ["ELF64 without header", elf64([]), /64-bit ELF file, but has neither a PVH entry nor a multiboot header/],
    ["truncated ELF header", elf32(header1(0)).subarray(0, 40), /truncated|not an ELF/],
    ["truncated segment", elf32(header1(0)).subarray(0, 0x90), /truncated: its segment 0/],
    ["bzImage", linux, /Linux kernel/],
    ["cut boot sector", cut, /no multiple of 512/],
    ["too large", elf32(header1(0), { memory: 17 * MIB }), /too large for memory/],
    ["over the video hole", elf32(header1(0), { physical: 0x9f000 }), /hole/],
    ["gzip", Uint8Array.of(0x1f, 0x8b, 8), /compressed/],
  ])("%s", (_name, bytes, why) => {
    expect(refusal(bytes)).toMatch(why);
  });

  test("a module that does not fit", () => {
    expect(refusal(elf32(header1(0)), FACTS, [file(new Uint8Array(16 * MIB), "", "big")])).toMatch(/module big/);
  });

  test("any damage to a good image either loads or is refused in one line", () => {
    const good = [elf32(header1(3)), elf64(header1(3)), elf32(header2([1, 12, 4, 0]))];
    fc.assert(
      fc.property(
        fc.nat(2),
        fc.array(fc.tuple(fc.nat(0xbf), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        fc.nat(0xc0),
        (which, damage, length) => {
          const bytes = good[which]!.slice();
          for (const [at, value] of damage) if (at < bytes.length) bytes[at] = value;
          try {
            loadImage(file(bytes.subarray(0, Math.max(length, 0x40))), [], FACTS);
          } catch (error) {
            if (!(error instanceof HostError)) throw error;
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
