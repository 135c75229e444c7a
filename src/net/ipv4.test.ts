import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checksum, pseudoHeader } from "./checksum.ts";
import { ipv4, ipv4Text } from "./bytes.ts";
import { bytesOf, hexOf, slowSum } from "./frames.testing.ts";
import { type Ipv4Packet, parseIpv4, writeIpv4Header } from "./ipv4.ts";
import { makeUdp, parseUdp } from "./udp.ts";
import { Reassembly, REASSEMBLY_NS } from "./reassembly.ts";

describe("Internet checksum (RFC 1071)", () => {
  it("of the example in section 3 is the complement of ddf2", () => {
    expect(checksum(bytesOf("00 01 f2 03 f4 f5 f6 f7"))).toBe(0xffff - 0xddf2);
  });
  it("pads an odd number of bytes with zero", () => {
    expect(checksum(bytesOf("00 01 f2"))).toBe(0xffff - 0xf201);
  });
  it("is what adding with the carry brought around gives, and 0 over itself", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), bytes => {
        const even = bytes.length % 2 === 0 ? bytes : Uint8Array.from([...bytes, 0]);
        const sum = checksum(bytes);
        expect(sum % 65535).toBe((65535 - slowSum([...bytes])) % 65535);
        expect(checksum(Uint8Array.from([...even, sum >> 8, sum & 255])) % 65535).toBe(0);
      }),
    );
  });
  it("stays exact for 64 KiB of ones behind a pseudo header of ones", () => {
    const start = pseudoHeader(0xffffffff, 0xffffffff, 255, 65535);
    expect(start).toBe(4 * 65535 + 255 + 65535);
    expect(checksum(new Uint8Array(65536).fill(255), start)).toBe(65535 - 255);
  });
});

describe("IPv4 (RFC 791, 3.1)", () => {
  const HEADER = "45 00 00 73 00 00 40 00 40 11 b8 61 c0 a8 00 01 c0 a8 00 c7";
  const packetOf = (header: string, length = 95): Uint8Array =>
    Uint8Array.from([...bytesOf(header), ...Array(length).fill(7)]);

  it("reads a header that is known to be right", () => {
    const packet = parseIpv4(packetOf(HEADER, 99))!;
    expect([ipv4Text(packet.source), ipv4Text(packet.destination)]).toEqual(["192.168.0.1", "192.168.0.199"]);
    expect([packet.protocol, packet.more, packet.offset, packet.payload.length, packet.header.length]).toEqual([
      ...[17, false, 0, 95, 20],
    ]);
  });
  it("drops what is too short, of another version, longer than its frame, or has a wrong checksum (RFC 1122, 3.2.1)", () => {
    expect(parseIpv4(packetOf(HEADER, 94))).toBeNull();
    expect(parseIpv4(bytesOf(HEADER).subarray(0, 19))).toBeNull();
    expect(parseIpv4(packetOf(HEADER.replace("b8 61", "b8 62")))).toBeNull();
    expect(parseIpv4(packetOf(HEADER.replace("45 00", "65 00").replace("b8 61", "98 61")))).toBeNull();
    // A header of 16 bytes, and a total length below the header's.
    expect(parseIpv4(packetOf(HEADER.replace("45 00", "44 00").replace("b8 61", "b9 61")))).toBeNull();
    expect(parseIpv4(packetOf(HEADER.replace("00 73", "00 13").replace("b8 61", "b8 c1")))).toBeNull();
  });
  it("skips options", () => {
    const head = "46 00 00 1c 00 00 00 00 40 01 0000 0a 00 02 0f 0a 00 02 02 01 01 01 00";
    const sum = (65535 - slowSum([...bytesOf(head)])).toString(16).padStart(4, "0");
    const packet = parseIpv4(bytesOf(`${head.replace("0000", sum)} 11 22 33 44`))!;
    expect(hexOf(packet.payload)).toBe("11223344");
  });
  it("writes the same header, but for the fragment flag and a time to live of its own", () => {
    const into = new Uint8Array(20);
    const heading = { source: ipv4("10.0.2.2"), destination: ipv4("10.0.2.15"), protocol: 1, id: 0x1234 };
    writeIpv4Header(into, heading, 1480, 1480, true);
    expect(hexOf(into).replace(/^(.{20}).{4}/, "$1....")).toBe("450005dc123420b94001....0a0002020a00020f");
    expect(slowSum([...into])).toBe(65535);
  });
});

describe("UDP (RFC 768)", () => {
  it("a checksum that comes out as zero is sent as all ones", () => {
    // Pseudo header 0 + 0 + 17 + 10, header 0 + 0 + 10, and data that fill up to ffff.
    const bytes = makeUdp(0, 0, { source: 0, destination: 0, data: bytesOf("ff da") });
    expect(hexOf(bytes)).toBe("00000000000affffffda");
    expect(slowSum([0, 17, 0, 10, ...bytes]) % 65535).toBe(0);
  });
  it("a datagram without a checksum is taken, one with a wrong one is not, and neither is one with an impossible length", () => {
    const packet = (payload: string) =>
      ({ source: 0, destination: 0, payload: bytesOf(payload) }) as unknown as Ipv4Packet;
    expect(hexOf(parseUdp(packet("0001 0002 0009 0000 55 66"))!.data)).toBe("55");
    const right = makeUdp(0, 0, { source: 1, destination: 2, data: bytesOf("55") });
    expect(parseUdp(packet(hexOf(right)))).toMatchObject({ source: 1, destination: 2 });
    right[8]! ^= 1;
    expect(parseUdp(packet(hexOf(right)))).toBeNull();
    for (const wrong of ["0001 0002 0007 0000", "0001 0002 000a 0000 55", "0001 0002 0008 00"])
      expect(parseUdp(packet(wrong))).toBeNull();
  });
});

describe("reassembly (RFC 791, 3.2)", () => {
  const base = { source: 1, destination: 2, protocol: 17, id: 3 };
  const header = bytesOf("45 00 00 00 00 00 00 00 40 11 00 00 00 00 00 01 00 00 00 02");
  const piece = (data: Uint8Array, from: number, to: number, id = 3): Ipv4Packet => ({
    ...base,
    ...{ id, more: to < data.length, offset: from, header, payload: data.subarray(from, to) },
  });

  it("makes the datagram of its pieces, in whatever order they come, and however often", () => {
    const cuts = fc.tuple(
      fc.integer({ min: 9, max: 60_000 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      fc.array(fc.nat(), { maxLength: 40 }),
    );
    fc.assert(
      fc.property(cuts, ([length, places, order]) => {
        const data = Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 255);
        const ends = [...new Set(places.map(place => (place % Math.ceil(length / 8)) * 8)), 0, length];
        const sorted = [...new Set(ends)].sort((a, b) => a - b);
        if (sorted.length < 3) return;
        const pieces = sorted.slice(1).map((end, i) => piece(data, sorted[i]!, end));
        // Some twice, then everything that is missing.
        const sequence = [...order.map(n => n % pieces.length), ...pieces.keys()];
        const reassembly = new Reassembly();
        const seen = new Set<number>();
        for (const index of sequence) {
          const whole = reassembly.take(pieces[index]!, 9, 0);
          seen.add(index);
          expect(whole !== null).toBe(seen.size === pieces.length);
          if (whole === null) continue;
          expect(Buffer.compare(whole.payload, data)).toBe(0);
          expect([whole.more, whole.offset, whole.header.length, reassembly.state.slots.length]).toEqual([
            false,
            0,
            20,
            0,
          ]);
          return;
        }
        expect.unreachable();
      }),
      { numRuns: 60 },
    );
  });
  const data = Uint8Array.from({ length: 40 }, (_, i) => i);
  it("takes the later copy of bytes that come twice", () => {
    const reassembly = new Reassembly();
    reassembly.take(piece(data, 0, 16), 9, 0);
    reassembly.take(
      piece(
        data.map(byte => byte + 100),
        8,
        24,
      ),
      9,
      0,
    );
    const whole = reassembly.take(piece(data, 24, 40), 9, 0)!;
    expect([...whole.payload.subarray(6, 26)]).toEqual([
      6,
      7,
      ...Array.from({ length: 16 }, (_, i) => 108 + i),
      24,
      25,
    ]);
  });
  it("keeps datagrams apart by identification, and drives out the oldest for a fifth", () => {
    const reassembly = new Reassembly();
    for (const id of [1, 2, 3, 4, 5]) expect(reassembly.take(piece(data, 0, 16, id), 9, id)).toBeNull();
    expect(reassembly.state.slots.map(slot => slot.id)).toEqual([2, 3, 4, 5]);
    expect(reassembly.take(piece(data, 16, 40, 5), 9, 0)?.id).toBe(0);
  });
  it("drops pieces that contradict others, end inside a block, or reach beyond 65535 bytes", () => {
    const reassembly = new Reassembly();
    const slot = () => reassembly.state.slots[0]!;
    reassembly.take(piece(data, 16, 24), 9, 0);
    expect(reassembly.take({ ...piece(data, 0, 16), payload: data.subarray(0, 15) }, 9, 0)).toBeNull();
    expect(reassembly.take({ ...piece(data, 8, 16), offset: 65512 }, 9, 0)).toBeNull();
    // An end before what is there.
    expect(reassembly.take({ ...piece(data, 8, 16), more: false }, 9, 0)).toBeNull();
    expect([slot().length, slot().headerLength, slot().blocks[0]]).toEqual([-1, 0, 4]);
    reassembly.take(piece(data, 24, 40), 9, 0);
    reassembly.take({ ...piece(data, 24, 40), offset: 32 }, 9, 0);
    reassembly.take({ ...piece(data, 0, 8), offset: 40, more: true }, 9, 0);
    expect([slot().length, slot().blocks[0]]).toEqual([40, 0b11100]);
  });
  it("gives up after a minute and tells of the first fragment (RFC 1122, 3.3.2)", () => {
    const reassembly = new Reassembly();
    reassembly.take(piece(data, 8, 16, 1), 9, 5);
    reassembly.take(piece(data, 0, 16, 2), 9, 10);
    expect(reassembly.deadline).toBe(60e9 + 5);
    expect(reassembly.expire(REASSEMBLY_NS + 5)).toEqual([]);
    expect(reassembly.expire(REASSEMBLY_NS + 9)).toEqual([]);
    const [expired] = reassembly.expire(REASSEMBLY_NS + 10);
    expect([hexOf(expired!.packet.payload), expired!.station]).toEqual(["0001020304050607", 9]);
    expect(reassembly.deadline).toBe(Number.POSITIVE_INFINITY);
  });
});
