/** "The Linux/x86 Boot Protocol" (Documentation/arch/x86/boot.rst): "Memory Layout", "Sample Boot Configuration", "Running the Kernel". */
import { describe, expect, test } from "vitest";
import { MIB } from "../base/units.ts";
import type { BootFile, BootPlan } from "./boot-plan.ts";
import { loadImage } from "./load-image.ts";

const SECTORS = 3;
const KERNEL_BYTES = 0x1234;

/** A bzImage of protocol 2.07, as iPXE is one: sectors of real-mode code filled with their number, protected-mode part with 0xCC. */
function bzImage(change: (view: DataView) => void = () => {}): Uint8Array {
  const bytes = new Uint8Array((SECTORS + 1) * 512 + KERNEL_BYTES).fill(0xcc);
  for (let sector = 0; sector <= SECTORS; sector++) bytes.fill(sector + 1, sector * 512, sector * 512 + 512);
  bytes.fill(0, 0x1f1, 0x268);
  const view = new DataView(bytes.buffer);
  view.setUint8(0x1f1, SECTORS);
  view.setUint32(0x1f4, Math.ceil(KERNEL_BYTES / 16), true);
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint16(0x200, 0x66eb, true);
  bytes.set(new TextEncoder().encode("HdrS"), 0x202);
  view.setUint16(0x206, 0x0207, true);
  view.setUint8(0x211, 0x01);
  view.setUint32(0x22c, 0x2ffffff, true);
  view.setUint32(0x238, 200, true);
  change(view);
  return bytes;
}

const file = (name: string, bytes: Uint8Array, args = ""): BootFile => ({ name, bytes, args });
function load(bytes: Uint8Array, { args = "auto", initrd = false, mib = 64 } = {}): BootPlan {
  const disk = initrd ? file("initrd.img", new Uint8Array(5000).fill(0x77)) : null;
  const facts = { lowBytes: mib * MIB, highBytes: 0 };
  return loadImage(file("old.bin", bytes, args), [], facts, { initrd: disk, rsdp: 0xf0000 });
}
function memoryOf(plan: BootPlan): DataView {
  const bytes = new Uint8Array(64 * MIB);
  for (const piece of plan.pieces) bytes.set(piece.bytes, piece.address);
  return new DataView(bytes.buffer);
}

describe("a bzImage without a 32-bit entry that can be used", () => {
  const plan = load(bzImage(), { initrd: true });
  const { entry } = plan;
  const m = memoryOf(plan);
  const base = entry.ds * 16;

  test("real mode; DS, ES and SS are the segment of the real-mode code, CS lies 0x20 behind it, IP is 0", () => {
    expect(entry).toMatchObject({ mode: "real", eip: 0, cs: entry.ds + 0x20, es: entry.ds, ss: entry.ds });
    expect(plan.bios).toBe(true);
  });

  test("the whole real-mode code lies there: boot sector and setup_sects sectors", () => {
    for (const [offset, value] of [
      [0, 1],
      [0x1f0, 1],
      [0x300, 2],
      [0x7ff, 4],
    ] as const)
      expect(m.getUint8(base + offset)).toBe(value);
    expect([m.getUint16(base + 0x200, true), m.getUint16(base + 0x206, true)]).toEqual([0x66eb, 0x0207]);
    expect(m.getUint8(base + 0x800)).toBe(0);
  });

  test("the protected-mode part lies at 1 MiB (LOADED_HIGH), all of it", () => {
    expect([m.getUint8(MIB - 1), m.getUint8(MIB), m.getUint8(MIB + KERNEL_BYTES - 1)]).toEqual([0, 0xcc, 0xcc]);
    expect(m.getUint8(MIB + KERNEL_BYTES)).toBe(0);
  });

  test("CAN_USE_HEAP (bit 7 of loadflags) beside LOADED_HIGH; heap_end_ptr is the end of the heap less 0x200; SP is that end", () => {
    expect(m.getUint8(base + 0x211)).toBe(0x81);
    expect(m.getUint16(base + 0x224, true)).toBe(entry.esp - 0x200);
    expect(entry.esp).toBeLessThanOrEqual(0xe000);
    expect(entry.esp).toBeGreaterThan(0x800 + 0x1000);
  });

  test("cmd_line_ptr: the zero-terminated text, between the end of the heap and 0xA0000", () => {
    const at = m.getUint32(base + 0x228, true);
    expect(at).toBeGreaterThanOrEqual(base + entry.esp);
    expect(at).toBeLessThan(0xa0000);
    expect(String.fromCharCode(...new Uint8Array(m.buffer, at, 5))).toBe("auto\0");
  });

  test("type_of_loader 0xFF: no id assigned; vid_mode 0xFFFF: normal", () => {
    expect([m.getUint8(base + 0x210), m.getUint16(base + 0x1fa, true)]).toEqual([0xff, 0xffff]);
  });

  test("ramdisk_image and ramdisk_size: the initrd, below initrd_addr_max; both 0 without one", () => {
    const at = m.getUint32(base + 0x218, true);
    expect([m.getUint32(base + 0x21c, true), m.getUint8(at), m.getUint8(at + 4999)]).toEqual([5000, 0x77, 0x77]);
    expect(at + 5000).toBeLessThanOrEqual(0x3000000);
    expect(at).toBeGreaterThan(0x3000000 - 0x3000);
    const none = memoryOf(load(bzImage()));
    expect([none.getUint32(base + 0x218, true), none.getUint32(base + 0x21c, true)]).toEqual([0, 0]);
  });

  test("interrupt vectors lead to the BIOS' services", () => {
    expect(m.getUint16(0x15 * 4 + 2, true)).toBe(0xf000);
    const handler = 0xf0000 + m.getUint16(0x15 * 4, true);
    // push 15h
    expect([m.getUint8(handler), m.getUint8(handler + 1)]).toEqual([0x6a, 0x15]);
  });

  test("the image is not changed", () => {
    const bytes = bzImage();
    load(bytes, { initrd: true });
    expect(bytes).toEqual(bzImage());
  });
});

test.each([
  ["a command line that is too long", { args: "x".repeat(201) }, /a command line of 200 bytes, this one has 201$/],
  ["too little memory", { mib: 1 }, /too large for memory: the kernel needs 2M, there are 1M$/],
])("%s: one line", (_name, options, message) => {
  expect(() => load(bzImage(), options)).toThrow(message);
});

test("a command line as long as it may be is whole", () => {
  const plan = load(bzImage(), { args: "y".repeat(200) });
  const m = memoryOf(plan);
  const at = m.getUint32(plan.entry.ds * 16 + 0x228, true);
  expect([m.getUint8(at + 199), m.getUint8(at + 200)]).toEqual(["y".charCodeAt(0), 0]);
});
