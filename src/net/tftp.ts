/**
 * A TFTP server that lends files and takes none. RFC 1350; RFC 2347 (options), RFC 2348 (block size), RFC 2349 (timeout, size); RFC 1123, 4.2.3.1 (an
 * acknowledgment that comes twice makes no second block).
 *
 * Decisions: blocks never need fragments, so a block size above 1468 is answered with 1468; the block number goes from 65535 to 0, as clients expect; a
 * packet is repeated after a second, then two, four, … and given up after the fifth repetition, or always after the time that was negotiated.
 * Not modelled: mode netascii, which is refused; writing; windows (RFC 7440).
 */
import type { Ns } from "../base/units.ts";
import { ETHERNET_MTU, type MacAddress } from "../ports/ethernet.ts";
import { ascii, get16, type Ipv4Address, put16, textAt } from "./bytes.ts";

export const TFTP_PORT = 69;
const OPCODE = {
  readRequest: 1,
  writeRequest: 2,
  data: 3,
  acknowledgment: 4,
  error: 5,
  optionAcknowledgment: 6,
} as const;
export const TFTP_ERROR = { undefined: 0, notFound: 1, access: 2, illegal: 4, unknownTransfer: 5 } as const;
const BLOCK_BYTES = 512;
/** RFC 2348. */
const BLOCK_RANGE = { least: 8, most: 65464 } as const;
/** What fits into a frame behind the headers of IPv4, UDP and TFTP. */
const MAX_BLOCK = ETHERNET_MTU - 20 - 8 - 4;
const SECOND: Ns = 1e9;
const REPETITIONS = 5;
const MAX_TRANSFERS = 16;
/** Ports of transfers: the dynamic ones of RFC 6335. */
const FIRST_PORT = 49152;
const LAST_PORT = 65535;

export type Transfer = {
  /** The client: station, address, port. */
  station: number;
  address: number;
  port: number;
  /** Our port, which is our transfer identifier. */
  ownPort: number;
  file: string;
  blockBytes: number;
  /** Number of the block that waits for its acknowledgment, from 1 on without a wrap; 0 while the options do. */
  block: number;
  /** The text of the options that were accepted, each ended by a NUL. */
  options: string;
  /** Seconds that were negotiated, 0 for none. */
  timeout: number;
  repeated: number;
  /** When the packet is repeated, ns. */
  deadline: number;
};
export type TftpState = { nextPort: number; transfers: Transfer[] };

export type Peer = { readonly station: MacAddress; readonly address: Ipv4Address; readonly port: number };
/** What the server asks for: a map, or somebody who looks when asked. */
export type Files = Pick<ReadonlyMap<string, Uint8Array>, "get">;

export type TftpOptions = {
  /** By name without a slash at the beginning. */
  readonly files: Files;
  readonly now: () => Ns;
  readonly send: (to: Peer, fromPort: number, data: Uint8Array) => void;
};

export class TftpServer {
  readonly state: TftpState = { nextPort: FIRST_PORT, transfers: [] };
  readonly #options: TftpOptions;

  constructor(options: TftpOptions) {
    this.#options = options;
  }

  clear(): void {
    this.state.nextPort = FIRST_PORT;
    this.state.transfers.length = 0;
  }

  /** When something is due, ns; Infinity when nothing is. */
  get deadline(): Ns {
    return Math.min(...this.state.transfers.map(transfer => transfer.deadline));
  }

  /** Is there a transfer at this port? */
  owns(port: number): boolean {
    return this.state.transfers.some(transfer => transfer.ownPort === port);
  }

  /** A datagram for {@link TFTP_PORT}. */
  request(from: Peer, data: Uint8Array): void {
    const opcode = data.length < 2 ? 0 : get16(data, 0);
    if (opcode === OPCODE.writeRequest) this.#error(from, TFTP_PORT, TFTP_ERROR.access, "nothing can be written here");
    if (opcode !== OPCODE.readRequest) return;
    const words = wordsOf(data);
    if (words === null || words.length < 2) {
      this.#error(from, TFTP_PORT, TFTP_ERROR.illegal, "name and mode are missing");
      return;
    }
    const [name, mode] = [words[0]!.replace(/^\/+/, ""), words[1]!.toLowerCase()];
    const file = this.#options.files.get(name);
    if (mode !== "octet") this.#error(from, TFTP_PORT, TFTP_ERROR.undefined, "only mode octet is served");
    else if (file === undefined) this.#error(from, TFTP_PORT, TFTP_ERROR.notFound, "no such file");
    else this.#start(from, name, file.length, words.slice(2));
  }

  /** A datagram for a transfer's port. */
  packet(from: Peer, port: number, data: Uint8Array): void {
    const transfer = this.state.transfers.find(({ ownPort }) => ownPort === port);
    const opcode = data.length < 4 ? 0 : get16(data, 0);
    if (transfer === undefined || transfer.address !== from.address || transfer.port !== from.port) {
      if (opcode !== OPCODE.error) this.#error(from, port, TFTP_ERROR.unknownTransfer, "no such transfer");
      return;
    }
    if (opcode === OPCODE.acknowledgment) {
      if (get16(data, 2) === (transfer.block & 0xffff)) this.#advance(transfer);
      return;
    }
    this.#end(transfer);
    if (opcode !== OPCODE.error) this.#error(from, port, TFTP_ERROR.illegal, "an acknowledgment was expected");
  }

  /** Repeats what is due at `now`. */
  expire(now: Ns): void {
    for (const transfer of this.state.transfers.filter(({ deadline }) => deadline <= now)) {
      if (transfer.repeated++ === REPETITIONS) this.#end(transfer);
      else this.#sendPresent(transfer);
    }
  }

  #start(from: Peer, file: string, size: number, asked: readonly string[]): void {
    const { transfers } = this.state;
    const former = transfers.find(({ address, port }) => address === from.address && port === from.port);
    if (former !== undefined) this.#end(former);
    if (transfers.length === MAX_TRANSFERS) {
      this.#error(from, TFTP_PORT, TFTP_ERROR.undefined, "too many transfers");
      return;
    }
    const { blockBytes, timeout, options } = negotiate(asked, size);
    const transfer: Transfer = {
      ...{ station: from.station, address: from.address, port: from.port, ownPort: this.#port(), file },
      ...{ blockBytes, timeout, options, block: options === "" ? 1 : 0, repeated: 0, deadline: 0 },
    };
    transfers.push(transfer);
    this.#sendPresent(transfer);
  }

  #port(): number {
    while (this.owns(this.state.nextPort)) this.#countPort();
    const port = this.state.nextPort;
    this.#countPort();
    return port;
  }

  #countPort(): void {
    this.state.nextPort = this.state.nextPort === LAST_PORT ? FIRST_PORT : this.state.nextPort + 1;
  }

  #end(transfer: Transfer): void {
    const { transfers } = this.state;
    transfers.splice(transfers.indexOf(transfer), 1);
  }

  /** The packet that waited has arrived. */
  #advance(transfer: Transfer): void {
    const size = this.#options.files.get(transfer.file)?.length ?? 0;
    // The first block that is not full ends the file, be it an empty one.
    if (transfer.block > 0 && transfer.block * transfer.blockBytes > size) {
      this.#end(transfer);
      return;
    }
    transfer.block++;
    transfer.repeated = 0;
    this.#sendPresent(transfer);
  }

  #sendPresent(transfer: Transfer): void {
    const { block, blockBytes, file, timeout, repeated } = transfer;
    const content = this.#options.files.get(file);
    if (content === undefined) {
      // The embedder loaded a snapshot without giving the same files.
      this.#end(transfer);
      this.#error(transfer, transfer.ownPort, TFTP_ERROR.notFound, "no such file");
      return;
    }
    transfer.deadline = this.#options.now() + SECOND * (timeout > 0 ? timeout : 2 ** repeated);
    const body = block === 0 ? ascii(transfer.options) : content.subarray((block - 1) * blockBytes, block * blockBytes);
    const head = block === 0 ? 2 : 4;
    const packet = new Uint8Array(head + body.length);
    put16(packet, 0, block === 0 ? OPCODE.optionAcknowledgment : OPCODE.data);
    if (block > 0) put16(packet, 2, block & 0xffff);
    packet.set(body, head);
    this.#options.send(transfer, transfer.ownPort, packet);
  }

  #error(to: Peer, fromPort: number, code: number, text: string): void {
    const packet = new Uint8Array(4 + text.length + 1);
    put16(packet, 0, OPCODE.error);
    put16(packet, 2, code);
    packet.set(ascii(text), 4);
    this.#options.send(to, fromPort, packet);
  }
}

/** The words behind the opcode, each ended by a NUL; null when the last one is not. */
function wordsOf(data: Uint8Array): string[] | null {
  const words = textAt(data, 2, data.length).split("\0");
  return words.pop() === "" ? words : null;
}

type Negotiated = { readonly blockBytes: number; readonly timeout: number; readonly options: string };

/** Options that are unknown or make no sense are left out of the answer (RFC 2347). */
function negotiate(asked: readonly string[], size: number): Negotiated {
  let [blockBytes, timeout, options] = [BLOCK_BYTES, 0, ""];
  const seen = new Set<string>();
  for (let i = 0; i + 1 < asked.length; i += 2) {
    const name = asked[i]!.toLowerCase();
    const value = /^[0-9]{1,9}$/.test(asked[i + 1]!) ? Number(asked[i + 1]) : -1;
    if (seen.has(name)) continue;
    seen.add(name);
    if (name === "blksize" && value >= BLOCK_RANGE.least && value <= BLOCK_RANGE.most) {
      blockBytes = Math.min(value, MAX_BLOCK);
      options += `blksize\0${blockBytes}\0`;
    } else if (name === "timeout" && value >= 1 && value <= 255) {
      timeout = value;
      options += `timeout\0${value}\0`;
    } else if (name === "tsize" && value >= 0) options += `tsize\0${size}\0`;
  }
  return { blockBytes, timeout, options };
}
