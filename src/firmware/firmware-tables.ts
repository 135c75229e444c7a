/**
 * Puts the ACPI, MultiProcessor and SMBIOS tables where an operating system looks for them: in the last 64 KiB below 1 MiB, which the memory map says are
 * the firmware's (ACPI 6.5, 5.2.5.1; MultiProcessor Specification 1.4, chapter 4; SMBIOS 3.0, 5.2.2).
 */
import { assert } from "../base/assert.ts";
import { alignUp } from "../base/int.ts";
import type { PhysAddr } from "../base/units.ts";
import { dmar, type RemappingFacts } from "./acpi/dmar.ts";
import { dsdt } from "./acpi/dsdt.ts";
import { facs, fadt, hpet, madt, mcfg, rsdp, table, xsdt } from "./acpi/tables.ts";
import type { BoardFacts } from "./board-facts.ts";
import type { LoadPiece } from "./boot-plan.ts";
import { BIOS_AREA } from "./e820.ts";
import { mpFloatingPointer, mpTable } from "./mp-table.ts";
import { smbiosEntry, smbiosTable } from "./smbios.ts";

/** Above this is the BIOS' entry code, which some guests of ours look for. */
const END = 0xff000;
/** Pointers are looked for on 16 bytes, FACS wants 64. */
const ALIGNMENT = 64;
const RSDP_BYTES = 36;

export type FirmwareTables = {
  readonly pieces: readonly LoadPiece[];
  /** Address of the ACPI root pointer. */
  readonly rsdp: PhysAddr;
};

/** @param remapping null without remapping hardware */
export function firmwareTables(board: BoardFacts, remapping: RemappingFacts | null = null): FirmwareTables {
  const pieces: LoadPiece[] = [];
  const root = BIOS_AREA;
  let next = alignUp(root + RSDP_BYTES, ALIGNMENT);
  const place = (what: string, bytes: Uint8Array): PhysAddr => {
    const address = next;
    next = alignUp(address + bytes.length, ALIGNMENT);
    assert(next <= END, "firmware tables do not fit");
    pieces.push({ what, address, bytes, size: bytes.length });
    return address;
  };
  const facsAt = place("FACS", facs());
  const dsdtAt = place(
    "DSDT",
    table("DSDT", 2, out => out.u8(...dsdt(board))),
  );
  const listed = [
    place("FACP", fadt(board, dsdtAt, facsAt)),
    place("APIC", madt(board)),
    ...(board.hpet === null ? [] : [place("HPET", hpet(board.hpet))]),
    place("MCFG", mcfg(board)),
    ...(remapping === null ? [] : [place("DMAR", dmar(remapping))]),
  ];
  const xsdtAt = place("XSDT", xsdt(listed));
  pieces.push({ what: "RSDP", address: root, bytes: rsdp(xsdtAt), size: RSDP_BYTES });
  const mpAt = place("MP configuration table", mpTable(board));
  place("MP floating pointer", mpFloatingPointer(mpAt));
  const smbios = smbiosTable(board);
  place("SMBIOS entry point", smbiosEntry(place("SMBIOS", smbios), smbios.length));
  return { pieces, rsdp: root };
}
