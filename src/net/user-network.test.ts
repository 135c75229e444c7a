import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { FUZZ_TIMEOUT, fuzzPart } from "../../test/fuzz-part.ts";
import type { EthernetPort, EthernetStation } from "../ports/ethernet.ts";
import { describePart } from "../ports/part.contract.ts";
import type { Window } from "../ports/window.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import { Rng } from "../sim/rng.ts";
import {
  bytesOf,
  DNS_MAC,
  echoRequest,
  GATEWAY_MAC,
  GUEST_IP,
  GUEST_MAC,
  hexOf,
  ipFrame,
  readFrame,
  readPayload,
  type SeenFrame,
  slowSum,
  udpFrame,
} from "./frames.testing.ts";
import { UserNetwork } from "./user-network.ts";

const ALL = "ff ff ff ff ff ff";
const GATEWAY = "0a 00 02 02";
const DNS = "0a 00 02 03";
const FILES = new Map([
  ["boot/kernel", Uint8Array.from({ length: 1300 }, (_, i) => i & 255)],
  ["full", new Uint8Array(1024).fill(1)],
  ["empty", new Uint8Array(0)],
]);

/** The network with a port whose frames lie in a list. */
function make() {
  const queue = new EventQueue(new Clock());
  const out: Uint8Array[] = [];
  let station: EthernetStation | null = null;
  const port: EthernetPort = {
    linkUp: true,
    megabits: 1000,
    idleAt: 0,
    connect: to => void (station = to),
    send: (frame, length) => {
      out.push(frame.slice(0, length));
      return true;
    },
  };
  const part = new UserNetwork({ name: "net", queue, port, files: FILES, bootFile: "boot/kernel" });
  const send = (frame: Uint8Array): SeenFrame[] => {
    const before = out.length;
    station!.receive(frame, frame.length, 0);
    return out.slice(before).map(readFrame);
  };
  const stimulate = (rng: Rng): void => void station!.receive(...mutated(rng));
  return { part, queue, out, send, stimulate, sent: () => out.length };
}

let rig: ReturnType<typeof make>;
beforeEach(() => {
  rig = make();
});
const send = (frame: Uint8Array): SeenFrame[] => rig.send(frame);
/** Runs for `ns`; the frames that came meanwhile. */
function wait(ns: number): SeenFrame[] {
  const before = rig.out.length;
  const end = rig.queue.clock.now() + ns;
  while (rig.queue.nextDeadline() <= end) {
    rig.queue.clock.advanceTo(rig.queue.nextDeadline());
    rig.queue.runDue();
  }
  rig.queue.clock.advanceTo(end);
  return rig.out.slice(before).map(readFrame);
}
const text = (data: string): string => hexOf(new TextEncoder().encode(data));

describe("ARP (RFC 826)", () => {
  const request = (target: string, sender = GUEST_IP, to = ALL): Uint8Array =>
    bytesOf(`${to} ${GUEST_MAC} 0806 0001 0800 06 04 0001 ${GUEST_MAC} ${sender} 00 00 00 00 00 00 ${target}`);
  const reply = (own: string, ip: string, sender = GUEST_IP): string =>
    hexOf(bytesOf(`0001 0800 06 04 0002 ${own} ${ip} ${GUEST_MAC} ${sender}`));

  it("tells the stations of the gateway and of the name server", () => {
    const [frame] = send(request(GATEWAY));
    expect([frame!.to, frame!.from, frame!.type]).toEqual(["52:54:00:12:34:56", "52:55:0a:00:02:02", 0x0806]);
    expect(hexOf(frame!.bytes)).toBe(reply(GATEWAY_MAC, GATEWAY));
    expect(send(request(DNS)).map(({ bytes }) => hexOf(bytes))).toEqual([reply(DNS_MAC, DNS)]);
    expect(rig.out[0]!.length).toBe(60);
  });
  it("answers a probe, whose sender has no address yet (RFC 5227, 2.1.1)", () => {
    expect(hexOf(send(request(GATEWAY, "00 00 00 00"))[0]!.bytes)).toBe(reply(GATEWAY_MAC, GATEWAY, "00 00 00 00"));
  });
  it("says nothing about others, to announcements, replies, other protocols and half packets", () => {
    expect(send(request("0a 00 02 04"))).toEqual([]);
    expect(send(request(GUEST_IP))).toEqual([]);
    const whole = request(GATEWAY);
    for (const [at, value] of [
      [15, 2],
      [16, 9],
      [18, 5],
      [21, 2],
      [22, 0x53],
    ] as const)
      expect(send(whole.map((byte, i) => (i === at ? value : byte)))).toEqual([]);
    expect(send(whole.subarray(0, 41))).toEqual([]);
  });
  it("hears only what is for everybody or for its own stations, and nothing that a group sent", () => {
    expect(send(request(GATEWAY, GUEST_IP, "33 33 00 00 00 01"))).toEqual([]);
    expect(send(request(GATEWAY, GUEST_IP, GATEWAY_MAC)).length).toBe(1);
    const fromGroup = request(GATEWAY);
    fromGroup[6]! |= 1;
    expect(send(fromGroup)).toEqual([]);
  });
});

describe("IPv6 router discovery (RFC 4861)", () => {
  const ALL_ROUTERS = "33 33 00 00 00 02";
  const OWN = "fe80 0000 0000 0000 5054 00ff fe12 3456";
  const NOBODY = "0000 0000 0000 0000 0000 0000 0000 0000";
  const GROUP = "ff02 0000 0000 0000 0000 0000 0000 0002";
  const OPTION = "01 01 52 54 00 12 34 56";
  const hex = (value: number): string => value.toString(16).padStart(4, "0");
  /** The checksum, RFC 8200, 8.1, word by word. */
  const sum = (source: string, destination: string, message: string): number => {
    const length = bytesOf(message).length;
    return 65535 - slowSum([...bytesOf(`${source} ${destination} ${hex(0)} ${hex(length)} 0000 003a ${message}`)]);
  };
  /** 4.1: type 133, code 0, checksum, reserved, options. */
  function solicit({
    source = OWN,
    options = OPTION,
    hops = "ff",
    type = "85",
    code = "00",
    next = "3a",
    more = "",
  } = {}) {
    const body = (check: string): string => `${type} ${code} ${check} 00000000 ${options}`;
    const message = body(hex(sum(source, GROUP, body("0000"))));
    const length = hex(bytesOf(message).length);
    return bytesOf(
      `${ALL_ROUTERS} ${GUEST_MAC} 86dd 60000000 ${length} ${next} ${hops} ${source} ${GROUP} ${message} ${more}`,
    );
  }

  it("answers a solicitation: no default router (lifetime 0), no flags, no prefix; hop limit 255 (4.2)", () => {
    const [frame] = send(solicit());
    expect([frame!.to, frame!.from, frame!.type]).toEqual(["52:54:00:12:34:56", "52:55:0a:00:02:02", 0x86dd]);
    const router = "fe80 0000 0000 0000 5055 0aff fe00 0202";
    const check = hex(sum(router, OWN, "8600 0000 00 00 0000 00000000 00000000"));
    expect(hexOf(rig.out[0]!.subarray(14, 70))).toBe(
      hexOf(bytesOf(`60000000 0010 3a ff ${router} ${OWN} 86 00 ${check} 00 00 0000 00000000 00000000`)),
    );
    expect(rig.out[0]!.length).toBe(70);
  });
  it("answers a host without an address to all nodes (6.2.6)", () => {
    const [frame] = send(solicit({ source: NOBODY, options: "" }));
    expect(frame!.to).toBe("33:33:00:00:00:01");
    expect(hexOf(rig.out[0]!.subarray(38, 54))).toBe(hexOf(bytesOf("ff02 0000 0000 0000 0000 0000 0000 0001")));
    expect(send(solicit({ options: "" })).length).toBe(1);
    // Padding of the frame is no part of the packet.
    expect(send(solicit({ more: "00 01 02" })).length).toBe(1);
  });
  it("drops what is not valid (6.1.1), and everything else of IPv6", () => {
    expect(send(solicit({ hops: "fe" }))).toEqual([]);
    expect(send(solicit({ code: "01" }))).toEqual([]);
    expect(send(solicit({ type: "87" }))).toEqual([]);
    expect(send(solicit({ next: "11" }))).toEqual([]);
    expect(send(solicit({ options: "01 00 52 54 00 12 34 56" }))).toEqual([]);
    expect(send(solicit({ options: "0e 02 52 54 00 12 34 56" }))).toEqual([]);
    expect(send(solicit({ source: NOBODY }))).toEqual([]);
    const whole = solicit();
    for (const at of [14, 22, 54, 56, 58]) {
      const wrong = whole.slice();
      wrong[at]! ^= 0x40;
      expect(send(wrong), `byte ${at}`).toEqual([]);
    }
    for (const length of [53, 61, 69]) expect(send(whole.subarray(0, length))).toEqual([]);
    const unicast = whole.slice();
    unicast.set(bytesOf(GATEWAY_MAC));
    expect(send(unicast)).toEqual([]);
    const other = whole.slice();
    other[13] = 0x00;
    expect(send(other)).toEqual([]);
  });
});

describe("ICMP (RFC 792)", () => {
  it("sends an echo's data back from the address that it was sent to", () => {
    const [frame] = send(ipFrame(DNS_MAC, DNS, 1, echoRequest("61 62 63 64 65")));
    expect([frame!.source, frame!.destination, frame!.to, frame!.from]).toEqual([
      ...["10.0.2.3", "10.0.2.15", "52:54:00:12:34:56", "52:55:0a:00:02:03"],
    ]);
    const { from, to, data } = readPayload(frame!);
    expect([from, to, hexOf(data)]).toEqual([0, 0, "123400016162636465"]);
  });
  it("answers an echo of 4000 bytes, which comes in three fragments, with three", () => {
    const whole = echoRequest(hexOf(Uint8Array.from({ length: 4000 }, (_, i) => i & 255)));
    const hex = hexOf(bytesOf(whole));
    const piece = (from: number, to: number, more: number): Uint8Array =>
      ipFrame(GATEWAY_MAC, GATEWAY, 1, hex.slice(from * 2, to * 2), { flags: more | (from / 8) });
    expect(send(piece(0, 1480, 0x2000))).toEqual([]);
    expect(send(piece(2960, 4008, 0))).toEqual([]);
    const frames = send(piece(1480, 2960, 0x2000));
    expect(frames.map(({ offset, more, payload }) => [offset, more, payload.length])).toEqual([
      [0, true, 1480],
      [1480, true, 1480],
      [2960, false, 1048],
    ]);
    expect(new Set(frames.map(({ id }) => id)).size).toBe(1);
    const payload = frames.flatMap(frame => frame.payload);
    expect(hexOf(readPayload({ ...frames[0]!, payload }).data)).toBe(hex.slice(8));
  });
  it("hears no senders that are no stations: broadcast, network, itself, elsewhere, a group, nobody (RFC 1122, 3.2.1.3)", () => {
    const from = (source: string) => send(ipFrame(GATEWAY_MAC, GATEWAY, 1, echoRequest("61"), { source }));
    expect(from("0a 00 02 fe").length).toBe(1);
    for (const source of [
      "0a0002ff",
      "0a000200",
      "0a000202",
      "0a000203",
      "c0000201",
      "e0000001",
      "00000000",
      "ffffffff",
    ])
      expect([source, from(source)]).toEqual([source, []]);
  });
  it("drops a message with a wrong checksum, and answers no other type", () => {
    const good = bytesOf(echoRequest("61"));
    expect(send(ipFrame(GATEWAY_MAC, GATEWAY, 1, hexOf(good.map((byte, i) => (i === 8 ? 0x60 : byte)))))).toEqual([]);
    expect(send(ipFrame(GATEWAY_MAC, GATEWAY, 1, "0000 ffff 0000 0000"))).toEqual([]);
  });
  it("after a minute without the rest it says so of a datagram whose first fragment came (RFC 1122, 3.3.2)", () => {
    send(ipFrame(GATEWAY_MAC, GATEWAY, 17, "0102030405060708 1112131415161718", { flags: 0x2000 }));
    expect(wait(59e9)).toEqual([]);
    const [frame] = wait(1e9);
    const { from, to, data } = readPayload(frame!);
    expect([from, to, hexOf(data.slice(-8))]).toEqual([11, 1, "0102030405060708"]);
  });

  const unreachable = (frame: Uint8Array): (string | number)[][] =>
    send(frame).map(answer => {
      const { from, to, data } = readPayload(answer);
      return [answer.source, from, to, hexOf(data)];
    });
  /** Unused word, header, eight bytes. */
  const quote = (frame: Uint8Array): string => `00000000${hexOf(frame.subarray(14, 14 + 28))}`;

  it("nothing leaves: elsewhere is unreachable, a station that is not there as well", () => {
    const [outside, beside] = ["08 08 08 08", "0a 00 02 63"].map(to => udpFrame(GATEWAY_MAC, to, [9999, 53], "00 01"));
    expect(unreachable(outside!)).toEqual([["10.0.2.2", 3, 0, quote(outside!)]]);
    expect(unreachable(beside!)).toEqual([["10.0.2.2", 3, 1, quote(beside!)]]);
  });
  it("nobody is at a closed port, nobody speaks an unknown protocol", () => {
    const [port, protocol] = [
      udpFrame(DNS_MAC, DNS, [9999, 69], "00 01"),
      ipFrame(DNS_MAC, DNS, 132, "0102030405060708"),
    ];
    expect(unreachable(port!)).toEqual([["10.0.2.3", 3, 3, quote(port!)]]);
    expect(unreachable(protocol!)).toEqual([["10.0.2.3", 3, 2, quote(protocol!)]]);
  });
  it("no error about an error, a later fragment, a broadcast, a group, or a sender that is none (RFC 1122, 3.2.2)", () => {
    const elsewhere = "08 08 08 08";
    expect(unreachable(ipFrame(GATEWAY_MAC, elsewhere, 1, "0300 fcff 00000000"))).toEqual([]);
    expect(unreachable(ipFrame(GATEWAY_MAC, elsewhere, 17, "0102030405060708", { flags: 0x0001 }))).toEqual([]);
    expect(unreachable(udpFrame(ALL, "0a 00 02 ff", [9999, 7], "00"))).toEqual([]);
    expect(unreachable(udpFrame(GATEWAY_MAC, "e0 00 00 01", [9999, 7], "00"))).toEqual([]);
    // A frame to everybody with a packet for one (RFC 1122, 3.3.6).
    expect(unreachable(udpFrame(ALL, DNS, [9999, 7], "00"))).toEqual([]);
    expect(unreachable(udpFrame(GATEWAY_MAC, "ff ff ff ff", [9999, 7], "00"))).toEqual([]);
  });
});

describe("TCP (RFC 9293, 3.10.7.1)", () => {
  const SYN = "d4 31 00 50 00 00 10 00 00 00 00 00 50 02 ff ff";
  function segment(head: string, data = ""): Uint8Array {
    const length = (20 + bytesOf(data).length).toString(16).padStart(4, "0");
    const sum = 65535 - slowSum([...bytesOf(`${GUEST_IP} ${GATEWAY} 0006 ${length} ${head} 0000 ${data}`)]);
    return ipFrame(GATEWAY_MAC, GATEWAY, 6, `${head} ${sum.toString(16).padStart(4, "0")} 0000 ${data}`);
  }
  const refused = (frame: Uint8Array): string[] => send(frame).map(({ payload }) => hexOf(payload.slice(0, 14)));

  it("a SYN is answered by RST and ACK with the next sequence number", () => {
    expect(refused(segment(SYN))).toEqual([hexOf(bytesOf("0050 d431 00000000 00001001 5014"))]);
    const frame = readFrame(rig.out[0]!);
    expect([frame.source, readPayload(frame).from]).toEqual(["10.0.2.2", 80]);
  });
  it("data and FIN count, too", () => {
    expect(refused(segment(SYN.replace("50 02", "50 01"), "01 02 03"))).toEqual([
      hexOf(bytesOf("0050 d431 00000000 00001004 5014")),
    ]);
  });
  it("a segment with an ACK is answered by a RST in its place, a RST by nothing", () => {
    expect(refused(segment(SYN.replace("00 00 00 00 50 02", "00 00 77 77 50 10")))).toEqual([
      hexOf(bytesOf("0050 d431 00007777 00000000 5004")),
    ]);
    expect(refused(segment(SYN.replace("50 02", "50 04")))).toEqual([]);
  });
  it("a wrong checksum is dropped", () => {
    const wrong = segment(SYN);
    wrong[38]! ^= 1;
    expect(refused(wrong)).toEqual([]);
  });
});

describe("name server (RFC 1035, 4)", () => {
  const query = (question: string, head = "abcd 0100 0001 0000 0000 0000"): (string | number)[] =>
    send(udpFrame(DNS_MAC, DNS, [40000, 53], `${head} ${question}`)).flatMap(frame => {
      const { from, to, data } = readPayload(frame);
      return [from, to, hexOf(data)];
    });
  const GATEWAY_TEST = "07 67 61 74 65 77 61 79 04 74 65 73 74 00";
  const answer = (flags: string, counts: string, rest: string): (string | number)[] => [
    ...[53, 40000, hexOf(bytesOf(`abcd ${flags} ${counts} 0000 0000 ${rest}`))],
  ];

  it("knows gateway.test, in any case of letters", () => {
    const asked = `${GATEWAY_TEST.replace("67", "47")} 0001 0001`;
    expect(query(asked)).toEqual(answer("8580", "0001 0001", `${asked} c00c 0001 0001 00000e10 0004 0a000202`));
  });
  it("a name without an address of that kind is no error, another name is", () => {
    const six = `${GATEWAY_TEST} 001c 0001`;
    expect(query(six)).toEqual(answer("8580", "0001 0000", six));
    const other = "01 78 04 74 65 73 74 00 0001 0001";
    expect(query(other)).toEqual(answer("8583", "0001 0000", other));
  });
  it("knows the way back (3.5)", () => {
    const asked = "01 32 01 32 01 30 02 31 30 07 69 6e 2d 61 64 64 72 04 61 72 70 61 00 000c 0001";
    expect(query(asked)).toEqual(answer("8580", "0001 0001", `${asked} c00c 000c 0001 00000e10 000e ${GATEWAY_TEST}`));
  });
  it("refuses other operations, and questions that are cut off, nested or several; ignores responses", () => {
    expect(query("", "abcd 1000 0001 0000 0000 0000")).toEqual(answer("9484", "0000 0000", ""));
    const format = answer("8581", "0000 0000", "");
    expect(query("07 67 61")).toEqual(format);
    expect(query(`${GATEWAY_TEST} 0001`)).toEqual(format);
    expect(query("c0 0c 0001 0001")).toEqual(format);
    expect(query(`${GATEWAY_TEST} 0001 0001`, "abcd 0100 0002 0000 0000 0000")).toEqual(format);
    expect(query(`${GATEWAY_TEST} 0001 0001`, "abcd 8100 0001 0000 0000 0000")).toEqual([]);
  });
});

describe("DHCP server (RFC 2131)", () => {
  type Reply = { to: string; ip: string; yi: string; si: string; file: string; flags: string; options: string };
  type Client = {
    ciaddr?: string;
    flags?: string;
    mac?: string;
    to?: string;
    giaddr?: string;
    sname?: string;
    file?: string;
  };
  function dhcp(
    options: string,
    { ciaddr = "00000000", flags = "0000", mac = GUEST_MAC, giaddr = "00000000", sname = "", file = "" }: Client = {},
  ) {
    const head = `01 01 06 00 3903f326 0000 ${flags} ${ciaddr} 00000000 00000000 ${giaddr} ${mac}`;
    const padded = (field: string, bytes: number): string => hexOf(bytesOf(field)).padEnd(2 * bytes, "0");
    const message = `${head}${padded("", 10)}${padded(sname, 64)}${padded(file, 128)} 63825363 ${options} ff`;
    return send(udpFrame(ALL, "ff ff ff ff", [68, 67], message)).map((frame): Reply => {
      const { from, to, data } = readPayload(frame);
      expect([frame.source, from, to]).toEqual(["10.0.2.2", 67, 68]);
      expect(data.length).toBeGreaterThanOrEqual(300);
      expect(hexOf(data.slice(0, 8))).toBe("020106003903f326");
      expect(hexOf(data.slice(28, 34))).toBe(hexOf(bytesOf(mac)));
      expect(hexOf(data.slice(236, 240))).toBe("63825363");
      const end = data.lastIndexOf(255);
      return {
        to: frame.to,
        ip: frame.destination,
        yi: data.slice(16, 20).join("."),
        si: data.slice(20, 24).join("."),
        file: String.fromCharCode(...data.slice(108, data.indexOf(0, 108))),
        flags: hexOf(data.slice(10, 12)),
        options: hexOf(data.slice(240, end)),
      };
    });
  }
  const server = "36040a000202";
  const times = "330400015180 3a040000a8c0 3b0400012750";
  const parameters = "0104ffffff00 03040a000202 06040a000203 1c040a0002ff";
  const options = (kind: string): string => hexOf(bytesOf(`3501${kind} ${times} ${server} ${parameters}`));
  const DISCOVER = "350101";
  const REQUEST = "350103";
  const asking = (address: string): string => `3204 ${address}`;

  it("DISCOVER, OFFER, REQUEST, ACK: mask, router, name server, a day, renewal and rebinding (4.4.5)", () => {
    const [offer] = dhcp(DISCOVER);
    expect(offer).toMatchObject({ yi: "10.0.2.15", ip: "10.0.2.15", to: "52:54:00:12:34:56", options: options("02") });
    expect(dhcp(`${REQUEST} ${server} ${asking(GUEST_IP)}`)[0]).toMatchObject({
      yi: "10.0.2.15",
      options: options("05"),
    });
  });
  it("tells the file to start, in its field and as the option that was asked for", () => {
    const [offer] = dhcp(`${DISCOVER} 3703 01 42 43`);
    expect([offer!.si, offer!.file]).toEqual(["10.0.2.2", "boot/kernel"]);
    expect(offer!.options.endsWith(`430b${text("boot/kernel")}`)).toBe(true);
  });
  it("tells iPXE, which asks for its options, that it need not wait for another server", () => {
    expect(dhcp(`${DISCOVER} 3702 01 af`)[0]!.options.endsWith("af03b00101")).toBe(true);
    expect(dhcp(DISCOVER)[0]!.options.includes("af03")).toBe(false);
  });
  it("answers everybody when the client says that it cannot take unicast (4.1)", () => {
    expect(dhcp(DISCOVER, { flags: "8000" })[0]).toMatchObject({
      ...{ ip: "255.255.255.255", to: "ff:ff:ff:ff:ff:ff", yi: "10.0.2.15", flags: "8000" },
    });
  });
  it("gives each client an address of its own, the same one again, and the one that it wants if that is free", () => {
    const other = { mac: "52 54 00 12 34 57" };
    const third = { mac: "52 54 00 12 34 58" };
    expect([dhcp(DISCOVER), dhcp(DISCOVER, other), dhcp(DISCOVER)].map(([reply]) => reply!.yi)).toEqual([
      ...["10.0.2.15", "10.0.2.16", "10.0.2.15"],
    ]);
    expect(dhcp(`${DISCOVER} ${asking("0a000232")}`, third)[0]!.yi).toBe("10.0.2.50");
    const fourth = { mac: "52 54 00 12 34 59" };
    expect(dhcp(`${DISCOVER} ${asking("0a00020f")}`, fourth)[0]!.yi).toBe("10.0.2.17");
  });
  it("knows a client by its identifier and sends that back (RFC 6842)", () => {
    const [one, two] = [dhcp(`${DISCOVER} 3d03 00 61 62`)[0]!, dhcp(DISCOVER)[0]!];
    expect([one.yi, two.yi]).toEqual(["10.0.2.15", "10.0.2.16"]);
    expect([one.options.endsWith("3d03006162"), two.options.includes("3d03")]).toEqual([true, false]);
  });
  it("refuses an address that the client was not offered, to everybody (4.3.2)", () => {
    dhcp(DISCOVER);
    const [nak] = dhcp(`${REQUEST} ${server} ${asking("0a000210")}`);
    expect([nak!.ip, nak!.yi, nak!.options.slice(0, 6 + server.length)]).toEqual([
      ...["255.255.255.255", "0.0.0.0", `350106${server}`],
    ]);
  });
  it("after a restart of the client: ACK for its address, NAK for another or of another network, silence without a record", () => {
    expect(dhcp(`${REQUEST} ${asking(GUEST_IP)}`)).toEqual([]);
    expect(dhcp(`${REQUEST} ${asking("c0a80005")}`)[0]!.options.slice(0, 6)).toBe("350106");
    dhcp(DISCOVER);
    expect(dhcp(`${REQUEST} ${asking(GUEST_IP)}`)[0]!.options).toBe(options("05"));
    expect(dhcp(`${REQUEST} ${asking("0a000210")}`)[0]!.options.slice(0, 6)).toBe("350106");
  });
  it("renews a lease to the address that has it, for the time that was asked for", () => {
    dhcp(DISCOVER);
    const [ack] = dhcp(`${REQUEST} 3304 00000e10`, { ciaddr: GUEST_IP });
    expect([ack!.ip, ack!.yi, ack!.options.slice(6, 18)]).toEqual(["10.0.2.15", "10.0.2.15", "330400000e10"]);
  });
  it("a client that takes another server's offer gives ours back", () => {
    dhcp(DISCOVER);
    expect(dhcp(`${REQUEST} 36040a000209 ${asking("0a000237")}`)).toEqual([]);
    expect(dhcp(DISCOVER, { mac: "52 54 00 12 34 57" })[0]!.yi).toBe("10.0.2.15");
  });
  it("an offer holds for a minute, a lease for its time; then others may have the address", () => {
    const other = { mac: "52 54 00 12 34 57" };
    dhcp(DISCOVER);
    wait(60e9 - 1);
    expect(dhcp(DISCOVER, other)[0]!.yi).toBe("10.0.2.16");
    wait(1);
    expect(dhcp(DISCOVER, { mac: "52 54 00 12 34 58" })[0]!.yi).toBe("10.0.2.15");
    dhcp(`${REQUEST} ${server} ${asking("0a000210")}`, other);
    wait(86_400e9 - 1);
    expect(dhcp(`${DISCOVER} ${asking("0a000210")}`)[0]!.yi).not.toBe("10.0.2.16");
    wait(1);
    expect(dhcp(`${DISCOVER} ${asking("0a000210")}`, { mac: "52 54 00 12 34 5a" })[0]!.yi).toBe("10.0.2.16");
  });
  it("RELEASE frees, DECLINE takes out of service (4.3.3, 4.3.4)", () => {
    const other = { mac: "52 54 00 12 34 57" };
    dhcp(DISCOVER);
    dhcp(`${REQUEST} ${server} ${asking(GUEST_IP)}`);
    expect(dhcp(`350107 ${server}`, { ciaddr: GUEST_IP })).toEqual([]);
    expect(dhcp(DISCOVER, other)[0]!.yi).toBe("10.0.2.15");
    expect(dhcp(`350104 ${server} ${asking(GUEST_IP)}`, other)).toEqual([]);
    expect([dhcp(DISCOVER, other), dhcp(DISCOVER)].map(([reply]) => reply!.yi)).toEqual(["10.0.2.16", "10.0.2.17"]);
  });
  it("INFORM gets parameters without a lease (4.3.5)", () => {
    const [ack] = dhcp("350108", { ciaddr: "0a 00 02 64" });
    expect([ack!.ip, ack!.yi, ack!.options]).toEqual([
      ...["10.0.2.100", "0.0.0.0", hexOf(bytesOf(`350105 ${server} ${parameters}`))],
    ]);
    expect(rig.part.state.dhcp.leases).toEqual([]);
  });
  it("BOOTP clients get an address for ever (RFC 1534)", () => {
    expect(dhcp("")[0]).toMatchObject({ yi: "10.0.2.15", options: hexOf(bytesOf(parameters)) });
    wait(100 * 86_400e9);
    expect(dhcp(DISCOVER, { mac: "52 54 00 12 34 57" })[0]!.yi).toBe("10.0.2.16");
  });
  it("has 240 addresses, and nothing to say when they are taken", () => {
    for (let i = 0; i < 240; i++) {
      const mac = `52 54 00 12 35 ${i.toString(16).padStart(2, "0")}`;
      expect(dhcp("", { mac })[0]!.yi).toBe(`10.0.2.${15 + i}`);
    }
    expect(dhcp(DISCOVER)).toEqual([]);
  });
  it("an address that ran out is kept for its old client while that client thinks about it again", () => {
    dhcp(DISCOVER);
    wait(60e9);
    expect(dhcp(DISCOVER)[0]!.yi).toBe("10.0.2.15");
    expect(dhcp(DISCOVER, { mac: "52 54 00 12 34 57" })[0]!.yi).toBe("10.0.2.16");
  });
  it("reads padding, and options that overflow into the fields of names (RFC 2132, 9.3; RFC 2131, 4.1)", () => {
    expect(dhcp(`00 00 ${DISCOVER} 00 ${asking("0a000240")}`)[0]!.yi).toBe("10.0.2.64");
    const other = { mac: "52 54 00 12 34 57" };
    expect(dhcp(`${DISCOVER} 3401 01`, { ...other, file: `${asking("0a000241")} ff` })[0]!.yi).toBe("10.0.2.65");
    const third = { mac: "52 54 00 12 34 58" };
    expect(dhcp(`${DISCOVER} 3401 02`, { ...third, sname: `${asking("0a000242")} ff` })[0]!.yi).toBe("10.0.2.66");
    const fourth = { mac: "52 54 00 12 34 59" };
    expect(dhcp(DISCOVER, { ...fourth, file: `${asking("0a000243")} ff` })[0]!.yi).toBe("10.0.2.15");
  });
  it("relayed messages, and options that are cut off, do no harm", () => {
    expect(dhcp(DISCOVER, { giaddr: "0a 00 02 09" })).toEqual([]);
    expect(dhcp(`${DISCOVER} 3209 0a`).length).toBe(1);
  });
});

describe("TFTP server (RFC 1350)", () => {
  const packet = (data: string, port = 69, from = 2000): { from: number; hex: string }[] =>
    send(udpFrame(GATEWAY_MAC, GATEWAY, [from, port], data)).map(seen);
  const seen = (frame: SeenFrame): { from: number; hex: string } => {
    const { from, to, data } = readPayload(frame);
    expect([frame.source, to]).toEqual(["10.0.2.2", 2000]);
    return { from, hex: hexOf(data) };
  };
  const words = (...all: string[]): string => all.map(word => `${text(word)}00`).join("");
  const read = (...all: string[]) => packet(`0001 ${words(...all)}`);
  const code = (answer: { hex: string }[]): string => answer[0]!.hex.slice(0, 8);
  const content = (from: number, to: number): string => hexOf(FILES.get("boot/kernel")!.subarray(from, to));

  it("sends a file in blocks of 512 bytes, one per acknowledgment, from a port of the transfer's own; the last is not full", () => {
    const [first] = read("/boot/kernel", "octet");
    expect(first!.from).toBeGreaterThanOrEqual(49152);
    expect(first!.hex).toBe(`00030001${content(0, 512)}`);
    expect(packet("0004 0001", first!.from)[0]!.hex).toBe(`00030002${content(512, 1024)}`);
    expect(packet("0004 0002", first!.from)[0]!.hex).toBe(`00030003${content(1024, 1300)}`);
    expect(packet("0004 0003", first!.from)).toEqual([]);
    expect(rig.part.state.tftp.transfers).toEqual([]);
  });
  it("a file of whole blocks, and an empty one, end with an empty block", () => {
    const { from } = read("full", "OCTET")[0]!;
    packet("0004 0001", from);
    expect(packet("0004 0002", from)[0]!.hex).toBe("00030003");
    expect(read("empty", "octet")[0]!.hex).toBe("00030001");
  });
  it("an acknowledgment that comes again makes no second block (RFC 1123, 4.2.3.1)", () => {
    const { from } = read("full", "octet")[0]!;
    expect(packet("0004 0001", from).length).toBe(1);
    expect(packet("0004 0001", from)).toEqual([]);
    expect(packet("0004 0000", from)).toEqual([]);
  });
  it("repeats after 1, 2, 4, 8, 16 seconds and gives up after 32", () => {
    read("full", "octet");
    const times = [1, 2, 4, 8, 16].map(seconds => {
      expect(wait(seconds * 1e9 - 1)).toEqual([]);
      return wait(1).map(frame => seen(frame).hex.slice(0, 8));
    });
    expect(times).toEqual(Array(5).fill(["00030001"]));
    expect(wait(100e9)).toEqual([]);
    expect(rig.part.state.tftp.transfers).toEqual([]);
  });
  it("an acknowledgment makes it patient again", () => {
    const { from } = read("full", "octet")[0]!;
    wait(3e9);
    packet("0004 0001", from);
    expect(wait(1e9 - 1)).toEqual([]);
    expect(wait(1).map(frame => seen(frame).hex.slice(0, 8))).toEqual(["00030002"]);
  });
  it("options are acknowledged before the first block (RFC 2347 to 2349)", () => {
    const [oack] = read("boot/kernel", "octet", "TSIZE", "0", "blksize", "1428", "timeout", "3", "windowsize", "4");
    expect(oack!.hex).toBe(`0006${words("tsize", "1300", "blksize", "1428", "timeout", "3")}`);
    expect(wait(3e9 - 1)).toEqual([]);
    expect(wait(1).map(frame => seen(frame).hex)).toEqual([oack!.hex]);
    expect(packet("0004 0000", oack!.from)[0]!.hex).toBe(`00030001${content(0, 1300)}`);
    expect(packet("0004 0001", oack!.from)).toEqual([]);
  });
  it("makes blocks as large as fit into a frame at most, and ignores sizes that none may have (RFC 2348)", () => {
    expect(read("full", "octet", "blksize", "65464")[0]!.hex).toBe(`0006${words("blksize", "1468")}`);
    expect(code(read("full", "octet", "blksize", "7", "timeout", "0", "tsize", "x"))).toBe("00030001");
  });
  it("errors: no such file, no writing, no other mode, no request, no such transfer (appendix)", () => {
    expect(code(read("other", "octet"))).toBe("00050001");
    expect(code(packet(`0002 ${words("full", "octet")}`))).toBe("00050002");
    expect(code(read("full", "netascii"))).toBe("00050000");
    expect(code(packet("0001 66 75 6c 6c"))).toBe("00050004");
    const { from } = read("full", "octet")[0]!;
    const stranger = send(udpFrame(GATEWAY_MAC, GATEWAY, [2001, from], "0004 0001"));
    expect(hexOf(readPayload(stranger[0]!).data.slice(0, 4))).toBe("00050005");
    expect(send(udpFrame(GATEWAY_MAC, GATEWAY, [2001, from], "0005 0000 00"))).toEqual([]);
    expect(code(packet("0003 0001", from))).toBe("00050004");
  });
  it("an error ends the transfer and is never answered", () => {
    const { from } = read("full", "octet")[0]!;
    expect(packet("0005 0000 00", from)).toEqual([]);
    expect(rig.part.state.tftp.transfers).toEqual([]);
    expect(packet("0005 0000 00", 69)).toEqual([]);
  });
  it("a client that asks again from the same port starts again; a seventeenth transfer is refused", () => {
    read("full", "octet");
    read("full", "octet");
    expect(rig.part.state.tftp.transfers.length).toBe(1);
    const ask = (from: number) => send(udpFrame(GATEWAY_MAC, GATEWAY, [from, 69], `0001 ${words("full", "octet")}`));
    for (let i = 1; i < 16; i++) expect(readPayload(ask(2000 + i)[0]!).data[1]).toBe(3);
    expect(readPayload(ask(3000)[0]!).data[1]).toBe(5);
  });
});

/** Frames that get far, some bytes of which are changed. */
function mutated(rng: Rng): [Uint8Array, number, number] {
  const frame = rng.pick(SAMPLES).slice();
  const changes = rng.pick([0, 0, 1, 2, 20]);
  for (let i = 0; i < changes; i++) frame[rng.below(frame.length)] = rng.below(256);
  const length = rng.chance(1, 6) ? rng.below(frame.length + 1) : frame.length;
  // Most changes would not get past the header's checksum.
  if (rng.chance(3, 4) && length >= 34 && frame[12] === 8 && frame[13] === 0) {
    frame[14] = 0x45;
    frame[24] = frame[25] = 0;
    let sum = 0;
    for (let i = 14; i < 34; i += 2) sum += frame[i]! * 256 + frame[i + 1]!;
    sum = 65535 - (sum % 65535);
    frame[24] = sum >> 8;
    frame[25] = sum & 255;
  }
  return [frame.subarray(0, length), length, 0];
}

const SAMPLES: readonly Uint8Array[] = [
  bytesOf(`${ALL} ${GUEST_MAC} 0806 0001 0800 06 04 0001 ${GUEST_MAC} ${GUEST_IP} 00 00 00 00 00 00 ${GATEWAY}`),
  ipFrame(GATEWAY_MAC, GATEWAY, 1, echoRequest("61 62 63 64 65")),
  ipFrame(GATEWAY_MAC, GATEWAY, 17, "0102030405060708 1112131415161718", { flags: 0x2000 }),
  ipFrame(GATEWAY_MAC, GATEWAY, 17, "0102030405060708 1112131415161718", { flags: 0x0002 }),
  udpFrame(
    DNS_MAC,
    DNS,
    [40000, 53],
    "abcd 0100 0001 0000 0000 0000 07 67 61 74 65 77 61 79 04 74 65 73 74 00 0001 0001",
  ),
  udpFrame(GATEWAY_MAC, GATEWAY, [2000, 69], `0001 ${text("full")} 00 ${text("octet")} 00`),
  udpFrame(
    GATEWAY_MAC,
    GATEWAY,
    [2000, 69],
    `0001 ${text("full")} 00 ${text("octet")} 00 ${text("blksize")} 00 3930 00`,
  ),
  ...[49152, 49153, 49154].map(port => udpFrame(GATEWAY_MAC, GATEWAY, [2000, port], "0004 0001")),
  ...["350101", "350103 36040a000202 32040a00020f", "350107", "350108", ""].map(options =>
    udpFrame(
      ALL,
      "ff ff ff ff",
      [68, 67],
      `01 01 06 00 3903f326 0000 0000 00000000 00000000 00000000 00000000 ${GUEST_MAC} ${"00".repeat(202)} 63825363 ${options} ff`,
    ),
  ),
  udpFrame(GATEWAY_MAC, "08 08 08 08", [1, 2], "00 01"),
];

describePart("user network", make);

describe("user network under noise", () => {
  const checkAll = (out: readonly Uint8Array[]): void => {
    for (const frame of out) {
      const seenFrame = readFrame(frame);
      if (seenFrame.type === 0x0800 && seenFrame.offset === 0 && !seenFrame.more) readPayload(seenFrame);
    }
  };
  it("random frames of any length are answered well or not at all", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1600 }), fc.constantFrom(GATEWAY_MAC, ALL, ""), (bytes, to) => {
        const head = bytesOf(to);
        const frame = Uint8Array.from([...head, ...bytes.subarray(head.length)]);
        rig.stimulate(new Rng(frame.length));
        rig.send(frame);
        checkAll(rig.out.splice(0));
      }),
      { numRuns: 300 },
    );
  });
  it(
    "fuzz: mutated frames, time, and loads in between: every answer is well-formed",
    () => {
      fuzzPart(
        () => ({ ...make(), windows: [WINDOW] }),
        "user network",
        { maxAdvance: 5e9, steps: 30_000 },
        ({ out, part }) => {
          checkAll(out.splice(0));
          expect(part.state.dhcp.leases.length).toBeLessThanOrEqual(240);
          expect(new Set(part.state.dhcp.leases.map(({ address }) => address)).size).toBe(
            part.state.dhcp.leases.length,
          );
          expect(part.state.tftp.transfers.length).toBeLessThanOrEqual(16);
        },
      );
    },
    FUZZ_TIMEOUT,
  );
});

/** The fuzzer wants one. */
const WINDOW: Window = { name: "none", size: 4, minWidth: 4, maxWidth: 4, read: () => 0, write: () => {} };
