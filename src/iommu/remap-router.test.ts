/** VT-d Architecture Specification (rev. 4.0), 8.3.1: device scopes say which unit sees whom. */
import { expect, test } from "vitest";
import { REMAP_FAULT } from "../ports/dma-remap.ts";
import { RemapRouter } from "./remap-router.ts";
import { DEVICE, VtdRig } from "./vtd-rig.testing.ts";

function two() {
  const [own, rest] = [new VtdRig(), new VtdRig()];
  return { own, rest, router: new RemapRouter([own.unit, rest.unit], [[DEVICE]]) };
}

test("a unit translates for its scope, the last one for everybody else; each has its own tables and faults", () => {
  const { own, rest, router } = two();
  expect(router.active).toBe(false);
  const top = own.translated();
  own.map(top, 0x1000, 0x5003n);
  expect(router.active).toBe(true);
  expect(router.translate(DEVICE, 0x1004, 1, 4, 0)).toBe(0x5004);
  expect(router.span).toBe(4);
  // The other unit is still off.
  expect(router.translate(DEVICE + 1, 0x1004, 1, 64, 0)).toBe(0x1004);
  expect(router.span).toBe(64);
  rest.enable();
  expect(router.translate(DEVICE + 1, 0x1004, 1, 4, 0)).toBe(REMAP_FAULT);
  expect([own.faults(), rest.faults()]).toEqual([[], [1]]);
});

test("messages go to the unit of their sender", () => {
  const { own, rest, router } = two();
  const table = own.remapping();
  own.memory.put(table, 1n | (0x41n << 16n));
  router.msi(0xfee00010, 0, DEVICE, 0);
  router.msi(0xfee00010, 0x31, 0xf0f8, 0);
  expect(own.bus.sent).toMatchObject([{ vector: 0x41 }]);
  expect([own.plain, rest.plain]).toEqual([[], [[0xfee00010, 0x31, 0xf0f8]]]);
});
