/** Registers as words, from their layouts. Literal values by SDM vol. 3A, figure "Local Vector Table", and the 82093AA data sheet, 3.2.4. */
import { expect, test } from "vitest";
import { RTE } from "../intc/ioapic.regs.ts";
import { LVT_ENTRY, SVR } from "../intc/lapic.regs.ts";
import { registerText } from "./monitor-controllers.ts";

test("a redirection table entry: vector 0x31, lowest priority, logical, active low, level, remote IRR, destination 0x0f", () => {
  const low = 0x31 | (1 << 8) | (1 << 11) | (1 << 13) | (1 << 14) | (1 << 15);
  expect(registerText(RTE.$, [low, 0x0f000000], ["extendedDestination"])).toBe(
    "vector=0x31 lowest logical active-low remote-IRR level destination=0x0f",
  );
});

test("a masked timer entry in periodic mode, with the fields left out that it does not have", () => {
  const left = ["deliveryMode", "polarity", "remoteIrr", "trigger"];
  expect(registerText(LVT_ENTRY.$, [0xb0 | (1 << 16) | (1 << 17)], left)).toBe("vector=0xb0 masked periodic");
});

test("flags by name, where they are set", () => {
  expect(registerText(SVR.$, [0x1ff])).toBe("vector=0xff enable");
  expect(registerText(SVR.$, [0xff])).toBe("vector=0xff");
});
