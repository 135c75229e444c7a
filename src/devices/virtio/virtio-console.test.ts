import { beforeEach, describe, expect, it } from "vitest";
import { describePart } from "../../ports/part.contract.ts";
import { Driver, DriverQueue, fixture, VERSION_1, VirtioRig } from "./driver.testing.ts";
import { CONSOLE_CONFIG, CONSOLE_F } from "./virtio-console.regs.ts";
import { VirtioConsole } from "./virtio-console.ts";

let rig: VirtioRig<VirtioConsole>;
let driver: Driver;
let rx: DriverQueue;
let tx: DriverQueue;
let text: string;

beforeEach(() => {
  text = "";
  const onOutput = (byte: number): void => {
    text += String.fromCharCode(byte);
  };
  rig = new VirtioRig((slot, events) => new VirtioConsole(slot, { events, onOutput }));
  driver = new Driver(rig);
  driver.negotiate([VERSION_1]);
  rx = new DriverQueue(rig, driver, 0, { base: 0x10000 });
  tx = new DriverQueue(rig, driver, 1, { base: 0x12000 });
  rx.enable(0);
  tx.enable(1);
  driver.ready();
});
const put = (address: number, characters: string): void =>
  [...characters].forEach((character, i) => {
    rig.board.space.write(address + i, 1, character.charCodeAt(0));
  });
const get = (address: number, length: number): string =>
  String.fromCharCode(...rig.board.space.ram.bytes.subarray(address, address + length));
const bytes = (characters: string): number[] => [...characters].map(character => character.charCodeAt(0));

describe("virtio console (VIRTIO 1.2, 5.3)", () => {
  it("pins features (5.3.3) and configuration (5.3.4)", () => {
    expect([Object.values(CONSOLE_F), Object.values(CONSOLE_CONFIG)]).toEqual([
      [0, 1, 2],
      [0, 2, 4, 8],
    ]);
    expect(rig.part.configRead(2, 2)).toBe(0x1043);
  });
  it("sends what the driver puts into the transmit queue, in order", () => {
    put(0x1000, "Hello, ");
    put(0x2000, "world");
    tx.add([
      { address: 0x1000, length: 7, write: false },
      { address: 0x2000, length: 5, write: false },
    ]);
    put(0x3000, "!\n");
    tx.add([{ address: 0x3000, length: 2, write: false }]);
    tx.kick();
    expect(text).toBe("");
    rig.run();
    expect([text, tx.fetch()?.written, tx.fetch()?.written]).toEqual(["Hello, world!\n", 0, 0]);
  });
  it("sends buffers larger than a piece", () => {
    put(0x20000, "x".repeat(10_000));
    tx.add([{ address: 0x20000, length: 10_000, write: false }]);
    tx.kick();
    rig.run();
    expect(text).toBe("x".repeat(10_000));
  });
  it("fills the buffers of the receive queue with what is typed, and interrupts", () => {
    rx.add([{ address: 0x1000, length: 4, write: true }]);
    rx.add([{ address: 0x2000, length: 4, write: true }]);
    rx.add([{ address: 0x3000, length: 4, write: true }]);
    rx.kick();
    rig.run();
    expect([rx.usedIndex, rig.pin]).toEqual([0, false]);
    rig.part.receive(bytes("typing"));
    rig.run(999);
    expect(rx.usedIndex).toBe(0);
    rig.run(1);
    expect([rx.fetch()?.written, rx.fetch()?.written, rx.fetch()]).toEqual([4, 2, null]);
    expect([get(0x1000, 4), get(0x2000, 2), rig.pin]).toEqual(["typi", "ng", true]);
  });
  it("keeps what is typed until there is a buffer", () => {
    rig.part.receive(bytes("ab"));
    rig.run();
    rig.part.receive(bytes("c"));
    rig.run();
    rx.add([{ address: 0x1000, length: 64, write: true }]);
    rx.kick();
    rig.run();
    expect([rx.fetch()?.written, get(0x1000, 3)]).toEqual([3, "abc"]);
  });
  it("what a buffer could not take for memory's fault goes into the next one", () => {
    rx.add([{ address: 0x70000000, length: 4, write: true }]);
    rx.add([{ address: 0x1000, length: 4, write: true }]);
    rx.kick();
    rig.part.receive(bytes("ab"));
    rig.run();
    expect([rx.fetch()?.written, rx.fetch()?.written, get(0x1000, 2)]).toEqual([0, 2, "ab"]);
  });
  it("a reset of the receive queue (2.6.1) keeps what was typed for the time when it works again", () => {
    driver.negotiate([VERSION_1, 40]);
    rx = new DriverQueue(rig, driver, 0, { base: 0x10000 });
    rx.enable(0);
    driver.ready();
    rig.part.receive(bytes("ab"));
    driver.write(22, 2, 0);
    driver.write(58, 2, 1);
    expect([rig.queue.nextDeadline(), rig.part.state.device.own.input]).toEqual([
      Number.POSITIVE_INFINITY,
      bytes("ab"),
    ]);
  });
  it("a reset forgets what was typed", () => {
    rig.part.receive(bytes("ab"));
    driver.status = 0;
    expect(rig.part.state.device.own.input).toEqual([]);
    rig.run();
  });
  it("emergency write sends one character, also before the driver is ready (5.3.4)", () => {
    driver.status = 0;
    rig.board.space.write(driver.config + 8, 4, 0x100 + 65);
    rig.board.space.write(driver.config + 4, 4, 66);
    expect([text, rig.board.space.read(driver.config + 8, 4)]).toEqual(["A", 0]);
  });
});

describePart("virtio console", () => {
  let sent = 0;
  const own = new VirtioRig((slot, events) => new VirtioConsole(slot, { events, onOutput: () => void sent++ }));
  const base = fixture(own, [29]);
  return {
    ...base,
    sent: () => sent + base.sent(),
    stimulate: rng => {
      if (rng.chance(1, 4)) own.part.receive([rng.below(256), rng.below(256)]);
      else base.stimulate(rng);
    },
  };
});
