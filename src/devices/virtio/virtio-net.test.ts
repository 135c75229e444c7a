import { beforeEach, describe, expect, it } from "vitest";
import { FUZZ_TIMEOUT, fuzzPart } from "../../../test/fuzz-part.ts";
import { bytesOf, hexOf } from "../../net/frames.testing.ts";
import { EthernetWire } from "../../net/wire.ts";
import type { EthernetPort, EthernetStation } from "../../ports/ethernet.ts";
import { EVENT } from "../../ports/events.ts";
import { describePart } from "../../ports/part.contract.ts";
import type { Part } from "../../ports/part.ts";
import { Driver, DriverQueue, fixture, type Piece, VERSION_1, VirtioRig } from "./driver.testing.ts";
import { NET_CONFIG, NET_CONTROL, NET_F, NET_HEADER, NET_MAC, NET_RX, NET_VLAN } from "./virtio-net.regs.ts";
import { VirtioNet } from "./virtio-net.ts";

const MAC = 0x525400123456;
const OWN = "52 54 00 12 34 56";
const BUFFERS = 0x40000;
const ALL_FEATURES = Object.values(NET_F).filter(bit => ![NET_F.guestCsum, NET_F.mtu].includes(bit as never));
/** A header that asks for nothing. */
const PLAIN = "00".repeat(12);

class Rig extends VirtioRig<VirtioNet> {
  readonly wire: EthernetWire;
  /** What arrived at the other end: when, and the frame. */
  readonly arrived: { at: number; bytes: Uint8Array }[] = [];

  constructor(mtu?: number) {
    let wire: EthernetWire | null = null;
    super((slot, queue) => {
      wire = new EthernetWire({ name: "wire", queue });
      return new VirtioNet(slot, { queue, port: wire.ports[0], mac: MAC, ...(mtu === undefined ? {} : { mtu }) });
    });
    this.wire = wire!;
    this.wire.ports[1].connect({
      receive: (frame, length) => void this.arrived.push({ at: this.queue.clock.now(), bytes: frame.slice(0, length) }),
      linkChanged: () => {},
    });
  }
}

let rig: Rig;
let driver: Driver;
let rx: DriverQueue;
let tx: DriverQueue;
let control: DriverQueue;
/** @param features besides VERSION_1 */
function start(features: readonly number[] = ALL_FEATURES, mtu?: number): void {
  rig = new Rig(mtu);
  driver = new Driver(rig);
  expect(driver.negotiate([VERSION_1, ...features])).toBe(true);
  rx = new DriverQueue(rig, driver, 0, { base: 0x10000, size: 16 });
  tx = new DriverQueue(rig, driver, 1, { base: 0x12000, size: 16 });
  control = new DriverQueue(rig, driver, 2, { base: 0x14000, size: 16 });
  driver.useMsix(4);
  for (const queue of [rx, tx, control]) queue.enable(queue.index);
  driver.write(16, 2, 3);
  driver.ready();
}
beforeEach(() => start());
const vectors = (): number[] => rig.board.messages.map(({ data }) => data - 0x40);
const put = (address: number, bytes: Uint8Array): void =>
  void rig.board.space.writeBlock(address, bytes, 0, bytes.length);
const get = (address: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => rig.board.space.read(address + i, 1));
/** Sends header and frame, in pieces of the lengths given and the rest. */
function transmit(packet: Uint8Array, cuts: readonly number[] = []): void {
  const pieces: Piece[] = [];
  const at = BUFFERS + tx.availIndex * 0x2000;
  let done = 0;
  for (const length of [...cuts, packet.length - cuts.reduce((a, b) => a + b, 0)]) {
    put(at + done + 64 * pieces.length, packet.subarray(done, done + length));
    pieces.push({ address: at + done + 64 * pieces.length, length, write: false });
    done += length;
  }
  tx.add(pieces);
}
const frameOf = (to: string, length: number): Uint8Array => {
  const head = bytesOf(`${to} 02 00 00 00 00 01 88 b5`);
  return Uint8Array.from([...head, ...Array.from({ length: length - head.length }, (_, i) => i & 255)]);
};
const packetOf = (frame: Uint8Array, header = PLAIN): Uint8Array => Uint8Array.from([...bytesOf(header), ...frame]);
function offer(...lengths: readonly number[]): void {
  for (const length of lengths) rx.add([{ address: BUFFERS + rx.availIndex * 0x2000, length, write: true }]);
  rx.kick();
}
const arrive = (frame: Uint8Array): void => void rig.wire.ports[1].send(frame, frame.length, 0);

describe("virtio-net: identification (VIRTIO 1.2, 5.1)", () => {
  it("is 1af4:1041, an Ethernet controller", () => {
    expect([rig.part.configRead(0, 4), rig.part.configRead(8, 4) >>> 8]).toEqual([0x10411af4, 0x020000]);
  });
  it("pins the numbers of the features and the offsets of configuration and header (5.1.3, 5.1.4, 5.1.6)", () => {
    expect(Object.values(NET_F)).toEqual([0, 1, 3, 5, 15, 16, 17, 18, 19, 20, 23, 63]);
    expect(Object.values(NET_CONFIG)).toEqual([0, 6, 8, 10, 12, 16]);
    expect(Object.values(NET_HEADER)).toEqual([0, 1, 2, 4, 6, 8, 10]);
  });
  it("offers neither segmentation nor the driver's checksums, and the MTU only when it is set", () => {
    const own = (): bigint => driver.offered() & ~(0x1ffn << 32n) & ~(3n << 28n);
    const bits = (all: readonly number[]): bigint => all.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);
    expect(own()).toBe(bits([0, 5, 15, 16, 17, 18, 19, 20, 23, 63]));
    start([], 1400);
    expect(own()).toBe(bits([0, 3, 5, 15, 16, 17, 18, 19, 20, 23, 63]));
    expect(rig.board.space.read(driver.config + 10, 2)).toBe(1400);
  });
  it("tells MAC address, link, speed in Mbit/s and full duplex", () => {
    expect(hexOf(get(driver.config, 8))).toBe(`${hexOf(bytesOf(OWN))}0100`);
    expect(hexOf(get(driver.config + 12, 5))).toBe("e803000001");
  });
});

describe("virtio-net: sending (5.1.6.2)", () => {
  it("a packet in pieces leaves as one frame, and comes back when its last bit has left", () => {
    const frame = frameOf("ff ff ff ff ff ff", 1514);
    transmit(packetOf(frame), [12, 14, 100]);
    tx.kick();
    rig.run(500 + 12303);
    expect(tx.fetch()).toBeNull();
    rig.run(1);
    expect(tx.fetch()).toMatchObject({ written: 0 });
    expect(vectors()).toEqual([1]);
    rig.run();
    expect(rig.arrived).toEqual([{ at: 500 + 12304 + 1000, bytes: frame }]);
  });
  it("packets leave in order, at the pace of the wire, and each comes back when it has left, with an interrupt", () => {
    for (let i = 0; i < 6; i++) transmit(packetOf(frameOf(`02 00 00 00 00 0${i}`, 100)));
    tx.kick();
    // 100 bytes with preamble, checksum and gap: 124, at 1 Gbit/s 992 ns.
    for (let sent = 0; sent < 6; sent++) {
      rig.run((sent === 0 ? 500 : 0) + 991);
      expect(tx.usedIndex).toBe(sent);
      rig.run(1);
      expect(tx.usedIndex).toBe(sent + 1);
    }
    rig.run();
    expect(rig.arrived.map(({ at, bytes }) => [at, bytes[5]])).toEqual([
      [2492, 0],
      [3484, 1],
      [4476, 2],
      [5468, 3],
      [6460, 4],
      [7452, 5],
    ]);
    expect([vectors(), rig.part.state.device.own.sent]).toEqual([new Array(6).fill(1), 6]);
  });
  it("fills in a checksum over everything from its start on, and nothing when it is not asked to (5.1.6.2.1)", () => {
    const frame = frameOf(OWN, 60);
    // The sum of a pseudo header lies at 20; words from 14 on.
    frame.set([0x12, 0x34], 20);
    transmit(packetOf(frame, "01 00 0000 0000 0e00 0600 0000"));
    transmit(packetOf(frame, "00 00 0000 0000 0e00 0600 0000"));
    tx.kick();
    rig.run();
    let sum = 0;
    for (let i = 14; i < 60; i += 2) sum += frame[i]! * 256 + frame[i + 1]!;
    const expected = 65535 - (sum % 65535);
    const [done, plain] = rig.arrived.map(({ bytes }) => bytes);
    expect(done![20]! * 256 + done![21]!).toBe(expected);
    expect(Buffer.compare(plain!, frame)).toBe(0);
    expect(done!.filter((byte, i) => byte !== frame[i]).length).toBeLessThanOrEqual(2);
  });
  it("an odd length counts as if a zero followed, and a sum of zero goes out as ones (RFC 1071, RFC 768)", () => {
    const frame = frameOf(OWN, 61).fill(0, 14);
    frame[60] = 0xff;
    frame[59] = 0xff;
    transmit(packetOf(frame, "01 00 0000 0000 3a00 0000 0000"));
    frame[58] = 0xff;
    frame[60] = 0;
    transmit(packetOf(frame, "01 00 0000 0000 3a00 0000 0000"));
    tx.kick();
    rig.run();
    // 0000 + 00ff + ff00 = ffff; ffff + 0000 = ffff. Both have the complement 0, which is sent as ffff.
    expect(rig.arrived.map(({ bytes }) => hexOf(bytes.subarray(58)))).toEqual(["ffffff", "ffff00"]);
  });
  it("packets that break a rule do not leave: too short, too long, segmentation, a checksum outside", () => {
    transmit(packetOf(frameOf(OWN, 14).subarray(0, 13)));
    transmit(bytesOf("00 00"));
    transmit(packetOf(frameOf(OWN, 9019)), [4096]);
    transmit(packetOf(frameOf(OWN, 60), "00 01 0000 0000 0000 0000 0000"));
    transmit(packetOf(frameOf(OWN, 60), "01 00 0000 0000 0e00 2d00 0000"));
    tx.kick();
    rig.run();
    expect([rig.arrived, rig.part.state.device.own.unsent, tx.usedIndex, rig.part.failure]).toEqual([[], 5, 5, ""]);
  });
  it("a cable that is not plugged in loses packets and gives buffers back", () => {
    rig.wire.setLink(false);
    transmit(packetOf(frameOf(OWN, 60)));
    tx.kick();
    rig.run();
    expect([tx.usedIndex, rig.arrived]).toEqual([1, []]);
  });
});

describe("virtio-net: receiving (5.1.6.4)", () => {
  it("a frame lies behind a header of 12 bytes that counts one buffer, and the driver hears of it", () => {
    const frame = frameOf(OWN, 100);
    offer(1526, 1526);
    arrive(frame);
    rig.run(1992 + 499);
    expect([vectors(), rx.fetch()]).toEqual([[], null]);
    rig.run(1);
    expect([vectors(), rx.fetch()]).toEqual([[0], { head: expect.any(Number), written: 112 }]);
    expect(hexOf(get(BUFFERS, 112))).toBe(`000000000000000000000100${hexOf(frame)}`);
  });
  it("its header says nothing of what was sent before", () => {
    transmit(packetOf(frameOf(OWN, 60), "01 00 2200 0102 0e00 0600 0000"));
    tx.kick();
    offer(1526);
    rig.run();
    arrive(frameOf(OWN, 60));
    rig.run();
    expect(hexOf(get(BUFFERS, 12))).toBe("000000000000000000000100");
  });
  it("frames that arrive within half a microsecond make one interrupt", () => {
    start();
    offer(1526, 1526, 1526);
    const fast = new EthernetWire({ name: "fast", queue: rig.queue, megabits: 1e6, latency: 0 });
    fast.ports[1].connect(rig.part);
    for (let i = 0; i < 3; i++) fast.ports[0].send(frameOf(OWN, 60), 60, 0);
    // They arrive after 1, 2 and 3 ns; the first one starts the time.
    rig.run(500);
    expect(vectors()).toEqual([]);
    rig.run(1);
    expect([vectors(), rx.usedIndex]).toEqual([[0], 3]);
    rig.run();
    expect(vectors()).toEqual([0]);
  });
  it("mergeable buffers: one frame over several, and the first tells how many (5.1.6.3.1)", () => {
    const frame = frameOf(OWN, 250);
    offer(100, 100, 100, 100);
    arrive(frame);
    rig.run();
    expect([rx.fetch(), rx.fetch(), rx.fetch(), rx.fetch()].map(used => used?.written)).toEqual([
      100,
      100,
      62,
      undefined,
    ]);
    const bytes = [0, 1, 2].flatMap(i => [...get(BUFFERS + i * 0x2000, i === 2 ? 62 : 100)]);
    expect(hexOf(bytes)).toBe(`000000000000000000000300${hexOf(frame)}`);
  });
  it("is lost when the buffers do not hold it, and the buffers stay for the next", () => {
    offer(100, 100);
    arrive(frameOf(OWN, 250));
    rig.run();
    expect([rx.usedIndex, rig.part.state.device.own.dropped]).toEqual([0, 1]);
    arrive(frameOf(OWN, 150));
    rig.run();
    expect([rx.usedIndex, get(BUFFERS, 12)[10]]).toEqual([2, 2]);
  });
  it("without mergeable buffers one must be enough", () => {
    start([NET_F.mac]);
    offer(100, 100);
    arrive(frameOf(OWN, 150));
    arrive(frameOf(OWN, 88));
    rig.run();
    expect([rx.usedIndex, rig.part.state.device.own.dropped, get(BUFFERS, 12)[10]]).toEqual([1, 1, 1]);
  });
  it("before DRIVER_OK, and without buffers, frames are lost", () => {
    arrive(frameOf(OWN, 60));
    rig.run();
    expect(rig.part.state.device.own.dropped).toBe(1);
    driver.status = 0;
    arrive(frameOf(OWN, 60));
    rig.run();
    expect([rig.part.state.device.own.dropped, rx.usedIndex]).toEqual([0, 0]);
  });
  it("nothing longer than the MTU, a tag aside, is given to the driver (5.1.4.1)", () => {
    start([NET_F.mtu], 1000);
    offer(1526, 1526);
    arrive(frameOf(OWN, 1019));
    arrive(frameOf(OWN, 1018));
    rig.run();
    expect([rx.fetch()?.written, rx.fetch()]).toEqual([1030, null]);
  });
  it("the link's changes are told by a configuration interrupt (5.1.4.2)", () => {
    rig.wire.setLink(false);
    expect([vectors(), rig.board.space.read(driver.config + 6, 2)]).toEqual([[3], 0]);
    driver.status = 0;
    expect(rig.board.space.read(driver.config + 6, 2)).toBe(0);
    rig.wire.setLink(true);
    expect(rig.board.space.read(driver.config + 6, 2)).toBe(1);
  });
});

describe("virtio-net: control queue (5.1.6.5)", () => {
  const COMMANDS = 0xc0000;
  function command(text: string): number {
    const bytes = bytesOf(text);
    put(COMMANDS, bytes);
    rig.board.space.write(COMMANDS + 0x8000, 1, 0x55);
    control.add([
      { address: COMMANDS, length: 2, write: false },
      { address: COMMANDS + 2, length: bytes.length - 2, write: false },
      { address: COMMANDS + 0x8000, length: 1, write: true },
    ]);
    control.kick();
    rig.run();
    expect(control.fetch()?.written).toBe(1);
    return rig.board.space.read(COMMANDS + 0x8000, 1);
  }
  const lets = (to: string, tag = ""): boolean => {
    const before = rig.part.state.device.own.filtered;
    const frame = frameOf(to, 60);
    if (tag !== "") frame.set(bytesOf(`81 00 ${tag}`), 12);
    arrive(frame);
    rig.run();
    return rig.part.state.device.own.filtered === before;
  };
  const BROADCAST = "ff ff ff ff ff ff";
  const GROUP = "33 33 00 00 00 01";
  const OTHER = "52 54 00 99 99 99";
  const all = (): boolean[] => [OWN, OTHER, GROUP, BROADCAST].map(to => lets(to));

  it("pins classes and commands", () => {
    expect([NET_CONTROL, NET_RX, NET_MAC, NET_VLAN].map(Object.values)).toEqual([
      [0, 1, 2],
      [0, 1, 2, 3, 4, 5],
      [0, 1],
      [0, 1],
    ]);
  });
  it("a device without orders lets everything in", () => {
    expect(all()).toEqual([true, true, true, true]);
  });
  it("not promiscuous: its own address and broadcasts; all groups, all stations when asked to (5.1.6.5.1)", () => {
    expect(command("00 00 00")).toBe(0);
    expect(all()).toEqual([true, false, false, true]);
    expect(command("00 01 01")).toBe(0);
    expect(all()).toEqual([true, false, true, true]);
    expect(command("00 02 01")).toBe(0);
    expect(all()).toEqual([true, true, true, true]);
  });
  it("no groups, no stations, no broadcasts; promiscuous goes before all", () => {
    command("00 00 00");
    command("00 01 01");
    for (const mode of ["03", "04", "05"]) expect(command(`00 ${mode} 01`)).toBe(0);
    expect(all()).toEqual([false, false, false, false]);
    command("00 00 01");
    expect(all()).toEqual([true, true, true, true]);
  });
  it("tables of addresses (5.1.6.5.2); a table that is too long lets its kind in", () => {
    command("00 00 00");
    expect(command(`01 00 01000000 ${OTHER} 01000000 ${GROUP}`)).toBe(0);
    expect([...all(), lets("33 33 00 00 00 02"), lets("52 54 00 99 99 98")]).toEqual([
      true,
      true,
      true,
      true,
      false,
      false,
    ]);
    expect(command(`01 00 00000000 41000000 ${GROUP.repeat(65)}`)).toBe(0);
    expect([lets("33 33 00 00 00 02"), lets(OTHER)]).toEqual([true, false]);
  });
  it("another address, until the device is reset", () => {
    command("00 00 00");
    expect(command(`01 01 ${OTHER}`)).toBe(0);
    expect([lets(OWN), lets(OTHER), hexOf(get(driver.config, 6))]).toEqual([false, true, hexOf(bytesOf(OTHER))]);
    driver.status = 0;
    expect(hexOf(get(driver.config, 6))).toBe(hexOf(bytesOf(OWN)));
  });
  it("tagged frames of VLANs that were not added stay outside (5.1.6.5.3)", () => {
    expect([lets(OWN, "00 05"), lets(OWN)]).toEqual([false, true]);
    expect(command("02 00 05 00")).toBe(0);
    expect([lets(OWN, "e0 05"), lets(OWN, "00 06")]).toEqual([true, false]);
    expect(command("02 01 05 00")).toBe(0);
    expect(lets(OWN, "00 05")).toBe(false);
    command("02 00 05 00");
    driver.status = 0;
    expect(rig.part.state.device.own.filter.vlans.every(byte => byte === 0)).toBe(true);
    start([NET_F.controlQueue]);
    expect(lets(OWN, "00 05")).toBe(true);
  });
  it("a control queue that was not negotiated is not served", () => {
    start([NET_F.mac]);
    control.add([{ address: COMMANDS, length: 3, write: false }]);
    control.kick();
    rig.run();
    expect(control.usedIndex).toBe(0);
  });
  it("errors: unknown, cut off, too long, out of range, and what was not negotiated", () => {
    for (const wrong of ["03 00 00", "00 06 00", "00 00 02", "00 00 00 00", "02 00 00 10", "02 02 01 00", "01 02 00"])
      expect([wrong, command(wrong)]).toEqual([wrong, 1]);
    for (const wrong of ["01 00 01000000", "01 00 00000000", "01 00 00000000 00000000 00", "01 01 01 02 03 04 05"])
      expect([wrong, command(wrong)]).toEqual([wrong, 1]);
    start([NET_F.controlQueue]);
    for (const wrong of ["00 00 01", "00 02 01", "02 00 05 00", `01 01 ${OTHER}`, "01 00 00000000 00000000"])
      expect([wrong, command(wrong)]).toEqual([wrong, 1]);
  });
});

describe("virtio-net: a reset of one queue (VIRTIO 1.2, 2.6.1)", () => {
  it.each([1, 2])("queue %i: what it was about to do is off, the other one goes on", index => {
    start([...ALL_FEATURES, 40]);
    const other = 3 - index;
    driver.notify(1);
    rig.run(100);
    driver.notify(2);
    driver.write(22, 2, index);
    driver.write(58, 2, 1);
    // 500 ns from the doorbell on the device looks; queue 1's was rung 100 ns earlier.
    const looks: number[] = [];
    while (Number.isFinite(rig.queue.nextDeadline())) {
      looks.push(rig.queue.nextDeadline());
      rig.run(rig.queue.nextDeadline() - rig.queue.clock.now());
    }
    expect(looks).toEqual([other === 1 ? 500 : 600]);
  });
});

describe("virtio-net: what the trace tells", () => {
  it("the doorbell leads to the descriptor, and that to the completion", () => {
    const events: { kind: number; a: number; id: number; cause: number }[] = [];
    const wanted = [EVENT.doorbell, EVENT.descriptor, EVENT.completion];
    rig.board.trace.listen(
      { event: (_t, kind, _s, a, _b, _c, id, cause) => void events.push({ kind, a, id, cause }) },
      wanted,
    );
    transmit(packetOf(frameOf(OWN, 60)));
    tx.kick();
    rig.run();
    const chain = events.filter(({ a }) => a === 1);
    expect(chain.map(({ kind }) => kind)).toEqual(wanted);
    expect([chain[1]!.cause, chain[2]!.cause]).toEqual([chain[0]!.id, chain[1]!.id]);
  });
  it("a frame's cause becomes that of the received packet's completion", () => {
    const causes: number[] = [];
    rig.board.trace.listen({ event: (_t, _k, _s, _a, _b, _c, _id, cause) => void causes.push(cause) }, [
      EVENT.completion,
    ]);
    offer(1526);
    rig.wire.ports[1].send(frameOf(OWN, 60), 60, 4711);
    rig.run();
    expect(causes).toEqual([4711]);
  });
});

/** A port whose link comes and goes; that is the only state that it has. */
function fuzzed() {
  let station: EthernetStation | null = null;
  let frames = 0;
  const link = { up: true };
  const port: EthernetPort = {
    get linkUp() {
      return link.up;
    },
    megabits: 1000,
    idleAt: 0,
    connect: to => void (station = to),
    send: () => frames++ >= 0,
  };
  const one = new VirtioRig<VirtioNet>((slot, queue) => new VirtioNet(slot, { queue, port, mac: MAC }));
  const base = fixture(one, ALL_FEATURES);
  const part: Part = {
    ...base.part,
    state: { part: base.part.state, link },
    reset: (phase, kind) => {
      if (phase === "enter" && kind === "power") link.up = true;
      base.part.reset(phase, kind);
    },
  };
  return {
    ...base,
    part,
    sent: () => base.sent() + frames,
    stimulate: (rng: Parameters<typeof base.stimulate>[0]) => {
      base.stimulate(rng);
      const frame = Uint8Array.from({ length: 60 + rng.below(200) }, () => rng.pick([0, 0x81, 0xff, rng.below(256)]));
      if (rng.chance(1, 2)) station!.receive(frame, frame.length, 0);
      if (rng.chance(1, 8)) {
        link.up = !link.up;
        station!.linkChanged(link.up);
      }
    },
    net: one.part,
  };
}

describePart("virtio-net", fuzzed);

it(
  "fuzz: what was taken comes back, in spite of drivers that break rules",
  () => {
    fuzzPart(fuzzed, "virtio-net", { maxAdvance: 100_000 }, ({ net }) => {
      for (const queue of net.queues) expect(queue.unpublished).toBeLessThanOrEqual(queue.maxSize);
    });
  },
  FUZZ_TIMEOUT,
);
