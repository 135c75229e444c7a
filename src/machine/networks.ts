/**
 * The links of the machine's network interfaces. Each has a wire of its own; at the other end is a network of the simulation (`net=user`, the default) or
 * nobody (`net=none`: the cable is not plugged in). Why not one network for all stands at net/user-network.ts.
 */
import { HostError } from "../base/assert.ts";
import { UserNetwork, type UserNetworkOptions } from "../net/user-network.ts";
import { EthernetWire } from "../net/wire.ts";
import { type EthernetPort, isGroup, type MacAddress, MAX_FRAME, parseMac } from "../ports/ethernet.ts";
import type { Part } from "../ports/part.ts";
import type { EventQueue } from "../sim/event-queue.ts";

/** Keys that every network interface has. */
export const LINK_KEYS = ["mac", "mtu", "net", "speed"];
/** As QEMU counts; the first interface without an address of its own gets this one. */
const FIRST_MAC: MacAddress = 0x525400123456;
const USAGE = 64;
/** RFC 791: "Every internet module must be able to forward a datagram of 68 octets without further fragmentation." */
const MIN_MTU = 68;
/** What a tagged frame has besides its payload, bytes. */
const TAGGED_HEADER = 18;
const MAX_MEGABITS = 400_000;

/** What the simulated networks offer. */
export type NetworkOptions = Pick<UserNetworkOptions, "files" | "bootFile" | "names">;

export type Link = {
  readonly port: EthernetPort;
  readonly mac: MacAddress;
  /** Undefined when the driver chooses. */
  readonly mtu: number | undefined;
};

const refuse = (text: string): never => {
  throw new HostError(text, USAGE);
};

export class Networks {
  /** In the order of the interfaces. Their end 0 is the interface's. */
  readonly wires: EthernetWire[] = [];
  readonly #queue: EventQueue;
  readonly #options: NetworkOptions;
  readonly #add: (part: Part) => void;
  #nextMac = FIRST_MAC;

  /** @param add makes a part one of the machine's */
  constructor(queue: EventQueue, options: NetworkOptions, add: (part: Part) => void) {
    this.#queue = queue;
    this.#options = options;
    this.#add = add;
  }

  /** The link of the interface called `name`. Throws {@link HostError} with status 64. */
  connect(name: string, keys: ReadonlyMap<string, string>): Link {
    const net = keys.get("net") ?? "user";
    if (net !== "user" && net !== "none") refuse(`device ${name}: net=${net} is neither user nor none`);
    const megabits = number(name, keys, "speed", 1, MAX_MEGABITS);
    const mtu = number(name, keys, "mtu", MIN_MTU, MAX_FRAME - TAGGED_HEADER);
    const queue = this.#queue;
    const wire = new EthernetWire({
      name: `${name} wire`,
      queue,
      up: net === "user",
      ...(megabits === undefined ? {} : { megabits }),
    });
    this.wires.push(wire);
    this.#add(wire);
    const port = wire.ports[1];
    if (net === "user") this.#add(new UserNetwork({ name: `${name} network`, queue, port, ...this.#options }));
    return { port: wire.ports[0], mac: this.#mac(name, keys.get("mac")), mtu };
  }

  #mac(name: string, text: string | undefined): MacAddress {
    if (text === undefined) return this.#nextMac++;
    const mac = parseMac(text);
    return mac === null || mac === 0 || isGroup(mac)
      ? refuse(`device ${name}: mac=${text} is no address of a station, like 52:54:00:12:34:56`)
      : mac;
  }
}

function number(
  name: string,
  keys: ReadonlyMap<string, string>,
  key: string,
  least: number,
  most: number,
): number | undefined {
  const text = keys.get(key);
  if (text === undefined) return undefined;
  const value = /^[0-9]{1,9}$/.test(text) ? Number(text) : -1;
  return value >= least && value <= most
    ? value
    : refuse(`device ${name}: ${key}=${text} is no number from ${least} to ${most}`);
}
