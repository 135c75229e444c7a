/**
 * The DMA remapping table. Document: VT-d specification (rev. 4.0), chapter 8 "BIOS Considerations": 8.1 (table), 8.3 (DMA remapping hardware unit
 * definition, DRHD), 8.3.1 (device scopes).
 */
import type { Bdf, PhysAddr } from "../../base/units.ts";
import type { TableWriter } from "../table-writer.ts";
import { table } from "./tables.ts";

/** 8.3.1, "Type". */
export const SCOPE = { endpoint: 1, bridge: 2, ioApic: 3, hpet: 4 } as const;

export type RemappingScope = {
  /** One of {@link SCOPE}. */
  readonly type: number;
  /** I/O APIC id or number of the HPET; 0 for PCI functions. */
  readonly enumeration: number;
  /** The requester id: its bus is the start bus, its device and function the path. */
  readonly requester: Bdf;
};

export type RemappingUnit = {
  readonly base: PhysAddr;
  /** It has all PCI functions that no other unit's scopes name; such a unit comes last. */
  readonly all: boolean;
  readonly scopes: readonly RemappingScope[];
};

export type RemappingFacts = {
  /** Address bits of the host. */
  readonly hostBits: number;
  readonly interruptRemapping: boolean;
  readonly units: readonly RemappingUnit[];
};

const FLAG_INTERRUPT_REMAPPING = 1;
const FLAG_ALL = 1;
const DRHD = 0;
const DRHD_BYTES = 16;
const SCOPE_BYTES = 8;

export function dmar({ hostBits, interruptRemapping, units }: RemappingFacts): Uint8Array {
  return table("DMAR", 1, out => {
    // "Host Address Width: N+1 bits"; firmware does not ask to stay out of x2APIC mode (flag bit 1).
    out.u8(hostBits - 1, interruptRemapping ? FLAG_INTERRUPT_REMAPPING : 0).bytes(new Uint8Array(10));
    for (const unit of units) writeUnit(out, unit);
  });
}

function writeUnit(out: TableWriter, { base, all, scopes }: RemappingUnit): void {
  out.u16(DRHD, DRHD_BYTES + SCOPE_BYTES * scopes.length);
  // One page of registers, PCI segment 0.
  out
    .u8(all ? FLAG_ALL : 0, 0)
    .u16(0)
    .u64(base);
  for (const { type, enumeration, requester } of scopes) {
    out.u8(type, SCOPE_BYTES, 0, 0, enumeration, requester >> 8);
    out.u8((requester >> 3) & 31, requester & 7);
  }
}
