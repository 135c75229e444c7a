/** "The Linux/x86 Boot Protocol" (Documentation/arch/x86/boot.rst) and "Zero Page" (zero-page.rst); names of chapters and fields are theirs. */
import { describe, expect, test } from "vitest";
import { HostError } from "../base/assert.ts";
import { MIB } from "../base/units.ts";
import type { BootFile, BootPlan, LinuxFacts, MemoryFacts } from "./boot-plan.ts";
import { loadImage } from "./load-image.ts";

const FACTS: MemoryFacts = { lowBytes: 64 * MIB, highBytes: 0 };
const RSDP = 0xf0000;
const INIT_SIZE = 0x800000;
const SETUP_SECTORS = 2;
const KERNEL_BYTES = 0x1000;

/** A bzImage of protocol 2.15 with only what a loader reads; its protected-mode part is filled with 0xCC. */
function bzImage(change: (view: DataView) => void = () => {}, kernelBytes = KERNEL_BYTES): Uint8Array {
  const start = (SETUP_SECTORS + 1) * 512;
  const bytes = new Uint8Array(start + kernelBytes);
  bytes.fill(0xcc, start);
  const view = new DataView(bytes.buffer);
  view.setUint8(0x1f1, SETUP_SECTORS);
  view.setUint32(0x1f4, KERNEL_BYTES / 16, true);
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint16(0x200, 0x6aeb, true);
  bytes.set(new TextEncoder().encode("HdrS"), 0x202);
  view.setUint16(0x206, 0x020f, true);
  view.setUint8(0x211, 0x01);
  view.setUint32(0x22c, 0x7fffffff, true);
  view.setUint16(0x236, 0x7f, true);
  view.setUint32(0x238, 100, true);
  view.setUint32(0x258, 0x1000000, true);
  view.setUint32(0x260, INIT_SIZE, true);
  change(view);
  return bytes;
}

const file = (bytes: Uint8Array, args = "console=ttyS0", name = "vmlinuz"): BootFile => ({ name, bytes, args });
const load = (bytes: Uint8Array, initrd: Uint8Array | null = null, facts = FACTS, args?: string): BootPlan => {
  const linux: LinuxFacts = { initrd: initrd === null ? null : file(initrd, "", "initrd.img"), rsdp: RSDP };
  return loadImage(file(bytes, args), [], facts, linux);
};

/** Memory after the plan. */
function memoryOf(plan: BootPlan, facts = FACTS): DataView {
  const bytes = new Uint8Array(facts.lowBytes);
  for (const piece of plan.pieces) bytes.set(piece.bytes, piece.address);
  return new DataView(bytes.buffer);
}

const u64 = (m: DataView, at: number): number => m.getUint32(at, true) + m.getUint32(at + 4, true) * 2 ** 32;

describe("64-bit Boot Protocol", () => {
  const initrd = new Uint8Array(5000).fill(0x77);
  const plan = load(bzImage(), initrd);
  const m = memoryOf(plan);
  const zeroPage = plan.entry.esi!;

  test("the protected-mode part, at offset (setup_sects + 1) * 512, lies at pref_address and is entered at 0x200", () => {
    expect(plan.kind).toBe("linux");
    expect(m.getUint8(0x1000000)).toBe(0xcc);
    expect(m.getUint8(0x1000000 + KERNEL_BYTES - 1)).toBe(0xcc);
    expect(plan.entry).toMatchObject({ mode: "long", eip: 0x1000200 });
  });

  test("init_size bytes from there are free of anything else", () => {
    for (const { address, size } of plan.pieces) {
      expect(address === 0x1000000 || address + size <= 0x1000000 || address >= 0x1000000 + INIT_SIZE).toBe(true);
    }
  });

  test("CS is __BOOT_CS 0x10, DS, ES and SS are __BOOT_DS 0x18: 4G flat segments in a GDT that is loaded", () => {
    expect(plan.entry).toMatchObject({ cs: 0x10, ds: 0x18, es: 0x18, ss: 0x18, gdtLimit: 0x1f });
    // Intel SDM vol. 3A, 3.4.5: limit 0xFFFFF, G, P, S; code has L and execute/read, data read/write.
    expect(m.getUint32(plan.entry.gdtBase + 0x10, true)).toBe(0x0000ffff);
    expect(m.getUint32(plan.entry.gdtBase + 0x14, true) & 0x00fffa00).toBe(0x00af9a00);
    expect(m.getUint32(plan.entry.gdtBase + 0x1c, true) & 0x00dffa00).toBe(0x00cf9200 & 0x00dffa00);
  });

  test("the kernel, the zero page and the command line are identity-mapped", () => {
    for (const address of [0x1000000, 0x1000000 + INIT_SIZE - 1, zeroPage, m.getUint32(zeroPage + 0x228, true)]) {
      // Intel SDM vol. 3A, 4.5: bits 47:39, 38:30, 29:21; bit 7 of the last one is PS.
      const pml4e = u64(m, plan.entry.cr3!);
      const pdpte = u64(m, Math.floor(pml4e / 4096) * 4096 + Math.floor(address / 2 ** 30) * 8);
      const pde = u64(m, Math.floor(pdpte / 4096) * 4096 + (Math.floor(address / 2 ** 21) % 512) * 8);
      expect([pml4e & 3, pdpte & 3, pde & 0x83]).toEqual([3, 3, 0x83]);
      expect(Math.floor(pde / 2 ** 21)).toBe(Math.floor(address / 2 ** 21));
    }
  });

  test("the setup header is copied from 0x1f1 up to 0x202 + the byte at 0x201; all else is zero but what the loader fills in", () => {
    expect(m.getUint16(zeroPage + 0x206, true)).toBe(0x020f);
    expect(m.getUint32(zeroPage + 0x260, true)).toBe(INIT_SIZE);
    expect(m.getUint16(zeroPage + 0x200, true)).toBe(0x6aeb);
    expect(u64(m, zeroPage)).toBe(0);
    expect(u64(m, zeroPage + 0x202 + 0x6a)).toBe(0);
  });

  test("type_of_loader 0xff, cmd_line_ptr to the zero-terminated text", () => {
    expect(m.getUint8(zeroPage + 0x210)).toBe(0xff);
    const at = m.getUint32(zeroPage + 0x228, true);
    const text = new Uint8Array(m.buffer, at, 14);
    expect(new TextDecoder().decode(text)).toBe("console=ttyS0\0");
  });

  test("ramdisk_image and ramdisk_size: whole, page-aligned, as high as memory allows", () => {
    const at = m.getUint32(zeroPage + 0x218, true);
    expect(m.getUint32(zeroPage + 0x21c, true)).toBe(5000);
    expect(at % 4096).toBe(0);
    expect(at + 5000).toBeGreaterThan(FACTS.lowBytes - 4096);
    expect([m.getUint8(at), m.getUint8(at + 4999)]).toEqual([0x77, 0x77]);
  });

  test("an initrd ends at initrd_addr_max at the latest", () => {
    const low = memoryOf(
      load(
        bzImage(view => view.setUint32(0x22c, 0x2ffffff, true)),
        initrd,
      ),
    );
    expect(low.getUint32(zeroPage + 0x218, true) + 5000).toBeLessThanOrEqual(0x3000000);
  });

  test("acpi_rsdp_addr at 0x070", () => {
    expect(u64(m, zeroPage + 0x70)).toBe(RSDP);
  });

  test("e820_table at 0x2d0 with e820_entries at 0x1e8 tells usable RAM up to its end, and that firmware owns 0xf0000", () => {
    const count = m.getUint8(zeroPage + 0x1e8);
    const map = Array.from({ length: count }, (_, i) => zeroPage + 0x2d0 + i * 20).map(at => ({
      base: u64(m, at),
      end: u64(m, at) + u64(m, at + 8),
      type: m.getUint32(at + 16, true),
    }));
    expect(map).toContainEqual({ base: MIB, end: 64 * MIB, type: 1 });
    expect(map).toContainEqual({ base: 0xf0000, end: MIB, type: 2 });
    // What the loader put below 1 MiB lies in usable memory, which the kernel frees after use.
    expect(map[0]).toMatchObject({ base: 0, type: 1 });
    for (const { address, size } of plan.pieces) {
      expect(map.some(({ base, end, type }) => type === 1 && address >= base && address + size <= end)).toBe(true);
    }
  });
});

describe("a kernel that the host has unpacked", () => {
  /** ELF64 (System V ABI) linked at 0xffffffff81000000, physical 0x1000000; Linux' e_entry is physical. */
  function vmlinux(): Uint8Array {
    const bytes = new Uint8Array(0x1100);
    const view = new DataView(bytes.buffer);
    bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
    view.setUint16(16, 2, true);
    view.setUint16(18, 62, true);
    view.setUint32(24, 0x1000000, true);
    view.setUint32(32, 64, true);
    view.setUint16(54, 56, true);
    view.setUint16(56, 1, true);
    const header: [number, number][] = [
      [0, 1],
      [4, 5],
      [8, 0x1000],
      [16, 0x81000000],
      [20, 0xffffffff],
      [24, 0x1000000],
      [32, 0x100],
      [40, 0x3000],
    ];
    for (const [at, value] of header) view.setUint32(64 + at, value, true);
    bytes.set(new TextEncoder().encode("Linux version 6.1"), 0x1010);
    bytes[0x1000] = 0x90;
    return bytes;
  }

  test("a vmlinux enters at its ELF entry, with a setup header that says HdrS and LOADED_HIGH", () => {
    const plan = load(vmlinux());
    const m = memoryOf(plan);
    expect(plan.entry).toMatchObject({ mode: "long", eip: 0x1000000 });
    expect(m.getUint8(0x1000000)).toBe(0x90);
    expect(m.getUint32(plan.entry.esi! + 0x202, true)).toBe(0x53726448);
    expect(m.getUint8(plan.entry.esi! + 0x211) & 1).toBe(1);
  });

  test("beside its bzImage, whose header it gets", () => {
    const plan = loadImage({ ...file(bzImage()), unpacked: vmlinux() }, [], FACTS, { initrd: null, rsdp: RSDP });
    const m = memoryOf(plan);
    expect(plan.entry.eip).toBe(0x1000000);
    expect(m.getUint8(0x1000000)).toBe(0x90);
    expect(m.getUint32(plan.entry.esi! + 0x260, true)).toBe(INIT_SIZE);
  });
});

describe("32-bit Boot Protocol", () => {
  /** Without XLF_KERNEL_64: i386. */
  const plan = load(
    bzImage(view => view.setUint16(0x236, 0x7e, true)),
    new Uint8Array(5000),
  );
  const m = memoryOf(plan);

  test("a kernel without a 64-bit entry starts in 32-bit protected mode at the start of its protected-mode part", () => {
    expect(plan.entry).toMatchObject({ mode: "protected", eip: 0x1000000, ebx: 0 });
    expect(plan.entry.cr3).toBeUndefined();
  });

  test("CS is __BOOT_CS 0x10, DS, ES and SS are __BOOT_DS 0x18, flat and 32 bits wide; ESI holds the zero page", () => {
    expect(plan.entry).toMatchObject({ cs: 0x10, ds: 0x18, es: 0x18, ss: 0x18, gdtLimit: 0x1f });
    // Intel SDM vol. 3A, 3.4.5: G and D/B, no L.
    expect(m.getUint32(plan.entry.gdtBase + 0x14, true) & 0x00ffff00).toBe(0x00cf9b00);
    expect(m.getUint32(plan.entry.gdtBase + 0x1c, true) & 0x00ffff00).toBe(0x00cf9300);
    expect(m.getUint32(plan.entry.esi! + 0x202, true)).toBe(0x53726448);
    expect(m.getUint32(plan.entry.esi! + 0x21c, true)).toBe(5000);
  });

  test("a 64-bit kernel has this entry, too, for who asks for it", () => {
    const facts = { initrd: null, rsdp: RSDP };
    const wide = loadImage(file(bzImage()), [], FACTS, { ...facts, entry: "linux32" });
    expect(wide.entry).toMatchObject({ mode: "protected", eip: 0x1000000 });
    const narrow = bzImage(view => view.setUint16(0x236, 0x7e, true));
    expect(() => loadImage(file(narrow), [], FACTS, { ...facts, entry: "linux64" })).toThrow(
      /^vmlinuz: has no entry of the kind linux64, it has linux32 and linux16$/,
    );
  });
});

describe("what cannot be booted is refused in one line", () => {
  const refusal = (run: () => BootPlan): string => {
    try {
      run();
    } catch (error) {
      expect(error).toBeInstanceOf(HostError);
      expect((error as HostError).status).toBe(66);
      expect((error as HostError).message).not.toContain("\n");
      return (error as HostError).message;
    }
    throw new Error("was not refused");
  };
  test.each<[string, RegExp, (view: DataView) => void]>([
    ["protocol 2.1", /protocol 2\.1;/, view => view.setUint16(0x206, 0x0201, true)],
    ["no LOADED_HIGH", /zImage/, view => view.setUint8(0x211, 0)],
    ["no boot flag", /0x55 0xAA/, view => view.setUint16(0x1fe, 0, true)],
    ["payload outside the file", /damaged/, view => view.setUint32(0x24c, 0x7000000, true)],
    ["no init_size", /damaged/, view => view.setUint32(0x260, 0, true)],
    [
      "more init_size than memory",
      /too large for memory: the kernel needs 80M, there are 64M/,
      view => view.setUint32(0x260, 0x4000000, true),
    ],
  ])("%s", (_name, why, change) => {
    expect(refusal(() => load(bzImage(change)))).toMatch(why);
  });

  test("a truncated file", () => {
    const bytes = bzImage();
    expect(refusal(() => load(bytes.subarray(0, bytes.length - 100)))).toMatch(/truncated.*the file has 5532/);
    expect(refusal(() => load(bytes.subarray(0, 0x240)))).toMatch(/truncated/);
  });

  test("a signature behind the kernel is no damage", () => {
    expect(load(bzImage(() => {}, KERNEL_BYTES + 1500)).kind).toBe("linux");
  });

  test("an initrd that does not fit beside the kernel", () => {
    const facts = { lowBytes: 26 * MIB, highBytes: 0 };
    expect(refusal(() => load(bzImage(), new Uint8Array(4 * MIB), facts))).toMatch(/need 28M, there are 26M/);
  });

  test("a command line longer than cmdline_size", () => {
    expect(load(bzImage(), null, FACTS, "x".repeat(100)).kind).toBe("linux");
    expect(refusal(() => load(bzImage(), null, FACTS, "x".repeat(101)))).toMatch(/command line of 100 bytes/);
  });

  test("modules, and an initrd for what is no Linux kernel", () => {
    expect(refusal(() => loadImage(file(bzImage()), [file(new Uint8Array(1))], FACTS))).toMatch(/no modules/);
    const sector = new Uint8Array(512);
    sector.set([0x55, 0xaa], 510);
    expect(refusal(() => load(sector, new Uint8Array(1)))).toMatch(/initrd/);
  });
});
