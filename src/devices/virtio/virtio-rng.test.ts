import { describe, expect, it } from "vitest";
import { describePart } from "../../ports/part.contract.ts";
import type { Part } from "../../ports/part.ts";
import { Rng } from "../../sim/rng.ts";
import { Driver, DriverQueue, fixture, VERSION_1, VirtioRig } from "./driver.testing.ts";
import { VirtioRng } from "./virtio-rng.ts";

function start(seed: number) {
  const rig = new VirtioRig((slot, events) => new VirtioRng(slot, { events, rng: new Rng(seed) }));
  const driver = new Driver(rig);
  const open = (): DriverQueue => {
    driver.negotiate([VERSION_1]);
    const ring = new DriverQueue(rig, driver, 0, { base: 0x10000 });
    ring.enable();
    driver.ready();
    return ring;
  };
  return { rig, driver, open };
}
type Started = ReturnType<typeof start>;

/** `length` random bytes that the device says it has written. */
function draw({ rig }: Started, ring: DriverQueue, length: number): number[] {
  rig.board.space.ram.bytes.fill(0, 0x20000, 0x30000);
  ring.add([{ address: 0x20000, length, write: true }]);
  ring.kick();
  rig.run();
  const { written } = ring.fetch()!;
  return [...rig.board.space.ram.bytes.slice(0x20000, 0x20000 + written)];
}

describe("virtio entropy device (VIRTIO 1.2, 5.4)", () => {
  it("is device 4 with one queue and without configuration", () => {
    const { rig, driver } = start(1);
    expect([rig.part.configRead(2, 2), driver.read(18, 2), rig.capability(4)]).toEqual([0x1044, 1, 0]);
  });
  it("fills buffers with bytes that depend on the seed alone", () => {
    const [one, again, other] = [start(1), start(1), start(2)];
    const bytes = draw(one, one.open(), 64);
    expect(bytes).toHaveLength(64);
    expect(new Set(bytes).size).toBeGreaterThan(32);
    expect(draw(again, again.open(), 64)).toEqual(bytes);
    expect(draw(other, other.open(), 64)).not.toEqual(bytes);
  });
  it("may fill less than was asked for (5.4.6.1)", () => {
    const s = start(1);
    expect(draw(s, s.open(), 10_000)).toHaveLength(4096);
  });
  it("goes on after a reset of the device or of the platform, and begins again when the machine is switched on", () => {
    const s = start(1);
    const first = draw(s, s.open(), 32);
    const second = draw(s, s.open(), 32);
    expect(second).not.toEqual(first);
    const part: Part = s.rig.part;
    const reset = (kind: "system" | "power"): void => {
      for (const phase of ["enter", "hold", "exit"] as const) part.reset(phase, kind);
      s.rig.enable();
    };
    reset("system");
    expect(draw(s, s.open(), 32)).not.toEqual(first);
    reset("power");
    expect(draw(s, s.open(), 32)).toEqual(first);
  });
  it("a buffer that is not to be written breaks the rules", () => {
    const s = start(1);
    const ring = s.open();
    ring.add([{ address: 0x20000, length: 4, write: false }]);
    ring.kick();
    s.rig.run();
    expect([s.driver.status, ring.usedIndex]).toEqual([0x4f, 0]);
  });
});

describePart("virtio entropy device", () => fixture(start(1).rig, [29]));
