import { expect, test } from "vitest";
import { dmar, SCOPE } from "./dmar.ts";

const UNIT = {
  base: 0xfed90000,
  all: true,
  scopes: [
    { type: SCOPE.ioApic, enumeration: 2, requester: 0xf0f8 },
    { type: SCOPE.hpet, enumeration: 0, requester: 0xf078 },
  ],
};

test("the table is a header, the host's address width less one, flags, and units (VT-d 8.1)", () => {
  const bytes = dmar({ hostBits: 40, interruptRemapping: true, units: [UNIT] });
  expect(new TextDecoder().decode(bytes.subarray(0, 4))).toBe("DMAR");
  expect(bytes.reduce((sum, byte) => sum + byte, 0) & 0xff).toBe(0);
  expect(bytes.length).toBe(48 + 16 + 2 * 8);
  expect([...bytes.subarray(36, 48)]).toEqual([39, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
});

test("a unit says its page, that it has all of PCI, and who sends its I/O APIC's and HPET's messages (8.3, 8.3.1)", () => {
  const bytes = dmar({ hostBits: 40, interruptRemapping: true, units: [UNIT] });
  expect([...bytes.subarray(48, 64)]).toEqual([0, 0, 32, 0, 1, 0, 0, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0]);
  // Type 3 I/O APIC with its id; bus F0, path 1F.0.
  expect([...bytes.subarray(64, 72)]).toEqual([3, 8, 0, 0, 2, 0xf0, 0x1f, 0]);
  expect([...bytes.subarray(72, 80)]).toEqual([4, 8, 0, 0, 0, 0xf0, 0x0f, 0]);
});

test("without interrupt remapping the flag is clear; a unit for some functions does not claim all", () => {
  const scopes = [{ type: SCOPE.endpoint, enumeration: 0, requester: 0x001b }];
  const bytes = dmar({ hostBits: 46, interruptRemapping: false, units: [{ base: 0xfed91000, all: false, scopes }] });
  expect([bytes[36], bytes[37]]).toEqual([45, 0]);
  expect(bytes[52]).toBe(0);
  expect([...bytes.subarray(64, 72)]).toEqual([1, 8, 0, 0, 0, 0, 3, 3]);
});
