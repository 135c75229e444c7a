/**
 * The memory map that firmware tells an operating system about, in the terms of INT 15h AX=E820h (ACPI 6.5, 15.1 "INT 15H, E820H"), which multiboot
 * and fw_cfg pass on.
 */
import { GIB, KIB, MIB, type PhysAddr } from "../base/units.ts";
import type { MemoryFacts } from "./boot-plan.ts";

/** Address range types (ACPI 6.5, table 15.1). */
export const E820 = { usable: 1, reserved: 2, acpi: 3, nvs: 4 } as const;

export type E820Entry = { readonly base: PhysAddr; readonly length: number; readonly type: number };

/** First byte of the extended BIOS data area, as most firmware has it. */
export const EBDA = 0x9fc00;
/** Firmware's last 64 KiB below 1 MiB, where tables are looked for. */
export const BIOS_AREA = 0xf0000;

/** The map of a board with this RAM, by ascending address. */
export function e820(facts: MemoryFacts): E820Entry[] {
  const entries: E820Entry[] = [
    { base: 0, length: Math.min(EBDA, facts.lowBytes), type: E820.usable },
    { base: EBDA, length: 640 * KIB - EBDA, type: E820.reserved },
    { base: BIOS_AREA, length: MIB - BIOS_AREA, type: E820.reserved },
  ];
  if (facts.lowBytes > MIB) entries.push({ base: MIB, length: facts.lowBytes - MIB, type: E820.usable });
  for (const { base, length } of facts.reserved ?? []) entries.push({ base, length, type: E820.reserved });
  // The top of the 32-bit space holds the firmware's ROM, the APICs and the HPET.
  entries.push({ base: 0xfec00000, length: 4 * GIB - 0xfec00000, type: E820.reserved });
  if (facts.highBytes > 0) entries.push({ base: 4 * GIB, length: facts.highBytes, type: E820.usable });
  return entries;
}

/** The same as packed 20-byte records (base 64, length 64, type 32), as fw_cfg's `etc/e820` holds them. */
export function e820Bytes(entries: readonly E820Entry[]): Uint8Array {
  const bytes = new Uint8Array(entries.length * 20);
  const view = new DataView(bytes.buffer);
  entries.forEach((entry, i) => {
    put64(view, i * 20, entry.base);
    put64(view, i * 20 + 8, entry.length);
    view.setUint32(i * 20 + 16, entry.type, true);
  });
  return bytes;
}

/** Writes a number below 2^53 as 8 bytes, little endian. */
export function put64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value % 0x100000000, true);
  view.setUint32(offset + 4, Math.floor(value / 0x100000000), true);
}
