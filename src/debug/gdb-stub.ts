/**
 * The server's side of the GDB Remote Serial Protocol (GDB manual, appendix "Remote Serial Protocol"): packets to calls of a {@link DebugTarget}, and its
 * stops to stop replies. All-stop mode, one thread per processor: thread id = number + 1. No host, no sockets: bytes in, bytes out.
 *
 * What a thread that gdb leaves out of vCont does is the target's decision, see run-control.ts. Not built: non-stop mode, reverse execution (bc, bs: they
 * belong to the issue that brings checkpoints, and go into {@link GdbStub.#resumeOf}), tracepoints, file I/O.
 */
import {
  ACKNOWLEDGED,
  addressOf,
  bytesOfHex,
  framed,
  hexOfAddress,
  hexOfBytes,
  PacketReader,
  REFUSED,
} from "./packets.ts";
import { type Action, type DebugTarget, SIGNAL, type StopReason } from "./target.ts";

/** Longest payload that gdb may send. */
const PACKET_SIZE = 0x4000;
/** Bytes of a monitor command's output per packet. */
const OUTPUT_CHUNK = 1000;
const OK = "OK";
/** The packet is malformed; the address or register cannot be used. */
const BAD_PACKET = "E01";
const BAD_PLACE = "E14";
const UNKNOWN = "";

export class GdbStub {
  readonly #target: DebugTarget;
  readonly #send: (bytes: Uint8Array) => void;
  readonly #reader: PacketReader;
  #acks = true;
  #last: Uint8Array = ACKNOWLEDGED;
  /** gdb understands these stop reasons. */
  #knowsSwbreak = false;
  #knowsHwbreak = false;
  /** Processor of `g`, `m` and so on; of `c` and `s` (−1: all). */
  #general: number;
  #control = -1;
  #stop: StopReason;
  #running = false;

  /** A debugger has connected and the machine stands still. @param send bytes to the debugger */
  constructor(target: DebugTarget, send: (bytes: Uint8Array) => void) {
    this.#target = target;
    this.#send = send;
    this.#general = target.current;
    this.#stop = { cpu: target.current, signal: SIGNAL.trap, why: "signal", address: 0 };
    this.#reader = new PacketReader({
      packet: payload => this.#packet(payload),
      interrupt: () => {
        if (this.#running) this.#target.interrupt();
      },
      resend: () => this.#send(this.#last),
      acknowledge: good => {
        if (this.#acks) this.#send(good ? ACKNOWLEDGED : REFUSED);
      },
    });
  }

  /** Bytes from the debugger. */
  receive(bytes: Uint8Array): void {
    this.#reader.push(bytes);
  }

  /** The machine stopped. */
  stopped(reason: StopReason): void {
    this.#stop = reason;
    this.#general = reason.cpu;
    if (!this.#running) return;
    this.#running = false;
    this.#reply(this.#stopReply());
  }

  /** The machine is at its end. @param status exit status of the run */
  exited(status: number): void {
    this.#running = false;
    this.#reply(`W${hexOfBytes([status & 0xff])}`);
  }

  /** A line for the user, while the machine runs. */
  say(text: string): void {
    if (this.#running) this.#output(`${text}\n`);
  }

  #reply(payload: string): void {
    this.#last = framed(payload);
    this.#send(this.#last);
  }

  #packet(payload: string): void {
    if (this.#running) {
      // In all-stop mode nothing but the interrupt byte comes now; answering would be taken for a stop reply.
      return;
    }
    const reply = this.#answer(payload);
    if (reply !== null) this.#reply(reply);
  }

  /** The reply, or null when it comes later or never. */
  #answer(payload: string): string | null {
    const rest = payload.slice(1);
    switch (payload[0]) {
      case "?":
        return this.#stopReply();
      case "g":
        return this.#target.registerSizes.map((_, n) => this.#register(n)).join("");
      case "G":
        return this.#writeAll(rest);
      case "p":
        return this.#readOne(rest);
      case "P":
        return this.#writeOne(rest);
      case "m":
        return this.#read(rest);
      case "M":
      case "X":
        return this.#write(payload[0], rest);
      case "z":
      case "Z":
        return this.#stopPoint(payload[0] === "Z", rest);
      case "H":
        return this.#select(rest);
      case "T":
        return this.#thread(rest) === null ? BAD_PACKET : OK;
      case "D":
        this.#target.detach();
        return OK;
      case "k":
        this.#target.kill();
        return null;
      case "c":
      case "C":
      case "s":
      case "S":
        return this.#resumeOf(payload);
      case "v":
        return this.#verbose(payload);
      case "q":
        return this.#query(payload);
      case "Q":
        return this.#set(payload);
      default:
        return UNKNOWN;
    }
  }

  // --- stops -------------------------------------------------------------------------------------------------------------------------------------

  #stopReply(): string {
    const { cpu, signal, why, address } = this.#stop;
    const thread = `thread:${this.#id(cpu)};`;
    const head = `T${hexOfBytes([signal])}`;
    if (why === "signal") return head + thread;
    if (why === "swbreak") return head + thread + (this.#knowsSwbreak ? "swbreak:;" : "");
    if (why === "hwbreak") return head + thread + (this.#knowsHwbreak ? "hwbreak:;" : "");
    return `${head}${thread}${why}:${hexOfAddress(address)};`;
  }

  // --- threads -----------------------------------------------------------------------------------------------------------------------------------

  #id(cpu: number): string {
    return (cpu + 1).toString(16);
  }

  /** A thread id to a processor: −1 for all, null for none that there is. 0, "any", is the one of the last stop. */
  #thread(text: string): number | null {
    if (text === "-1") return -1;
    if (!/^[0-9a-f]+$/i.test(text)) return null;
    const id = Number.parseInt(text, 16);
    if (id === 0) return this.#stop.cpu;
    return id <= this.#target.cpuCount ? id - 1 : null;
  }

  #select(rest: string): string {
    const cpu = this.#thread(rest.slice(1));
    if (cpu === null) return BAD_PACKET;
    if (rest[0] === "g") this.#general = cpu < 0 ? this.#stop.cpu : cpu;
    else if (rest[0] === "c") this.#control = cpu;
    else return BAD_PACKET;
    return OK;
  }

  // --- registers ---------------------------------------------------------------------------------------------------------------------------------

  #register(n: number): string {
    return hexOfBytes(this.#target.readRegister(this.#general, n));
  }

  #readOne(rest: string): string {
    const n = Number.parseInt(rest, 16);
    return n >= 0 && n < this.#target.registerSizes.length ? this.#register(n) : BAD_PLACE;
  }

  #writeOne(rest: string): string {
    const [number = "", value = ""] = rest.split("=");
    const n = Number.parseInt(number, 16);
    const bytes = bytesOfHex(value);
    if (bytes === null || bytes.length !== this.#target.registerSizes[n]) return BAD_PACKET;
    return this.#target.writeRegister(this.#general, n, bytes) ? OK : BAD_PLACE;
  }

  #writeAll(rest: string): string {
    const bytes = bytesOfHex(rest);
    if (bytes === null) return BAD_PACKET;
    let at = 0;
    let good = true;
    for (const [n, size] of this.#target.registerSizes.entries()) {
      if (at + size > bytes.length) break;
      if (!this.#target.writeRegister(this.#general, n, bytes.slice(at, at + size))) good = false;
      at += size;
    }
    return good ? OK : BAD_PLACE;
  }

  // --- memory ------------------------------------------------------------------------------------------------------------------------------------

  #read(rest: string): string {
    const [address = "", length = ""] = rest.split(",");
    const from = addressOf(address);
    const count = Number.parseInt(length, 16);
    if (Number.isNaN(from) || !(count >= 0)) return BAD_PACKET;
    const bytes = this.#target.readMemory(this.#general, from, Math.min(count, PACKET_SIZE / 2));
    return bytes === null ? BAD_PLACE : hexOfBytes(bytes);
  }

  /** M with hexadecimal digits, X with plain bytes. */
  #write(kind: string, rest: string): string {
    const colon = rest.indexOf(":");
    const [address = "", length = ""] = rest.slice(0, Math.max(colon, 0)).split(",");
    const from = addressOf(address);
    const data = rest.slice(colon + 1);
    const bytes = kind === "M" ? bytesOfHex(data) : Uint8Array.from(data, c => c.charCodeAt(0));
    if (colon < 0 || Number.isNaN(from) || bytes === null) return BAD_PACKET;
    if (bytes.length !== Number.parseInt(length, 16)) return BAD_PACKET;
    // gdb asks with an empty X whether there is one.
    if (bytes.length === 0) return OK;
    return this.#target.writeMemory(this.#general, from, bytes) ? OK : BAD_PLACE;
  }

  #stopPoint(add: boolean, rest: string): string {
    const [kind = "", address = "", length = ""] = rest.split(";")[0]!.split(",");
    if (!/^[0-4]$/.test(kind)) return UNKNOWN;
    const at = addressOf(address);
    const size = Number.parseInt(length, 16);
    if (Number.isNaN(at) || !(size >= 0)) return BAD_PACKET;
    const target = this.#target;
    const done = add ? target.addStop(Number(kind), at, size) : target.removeStop(Number(kind), at, size);
    return done ? OK : BAD_PLACE;
  }

  // --- going on ----------------------------------------------------------------------------------------------------------------------------------

  /** `c [address]`, `C signal[;address]` and the same with `s`. Signals mean nothing to a machine. */
  #resumeOf(payload: string): string | null {
    const step = payload[0] === "s" || payload[0] === "S";
    const signalled = payload[0] === "C" || payload[0] === "S";
    const address = signalled ? (payload.split(";")[1] ?? "") : payload.slice(1);
    if (address !== "") return UNKNOWN;
    const actions = Array.from({ length: this.#target.cpuCount }, (): Action => "go");
    if (step) actions[this.#control < 0 ? this.#stop.cpu : this.#control] = "step";
    return this.#resume(actions);
  }

  /** `vCont;action[:thread]…`: for each thread the leftmost action that names it. */
  #continue(text: string): string | null {
    const actions = Array.from({ length: this.#target.cpuCount }, (): Action => "stand");
    const decided = new Set<number>();
    for (const part of text.split(";").slice(1)) {
      const [what = "", thread = "-1"] = part.split(":");
      const action: Action | null = /^[cC]/.test(what) ? "go" : /^[sS]/.test(what) ? "step" : null;
      const cpu = this.#thread(thread);
      if (action === null || cpu === null) return BAD_PACKET;
      for (let n = 0; n < actions.length; n++) {
        if ((cpu >= 0 && cpu !== n) || decided.has(n)) continue;
        decided.add(n);
        actions[n] = action;
      }
    }
    return decided.size === 0 ? BAD_PACKET : this.#resume(actions);
  }

  #resume(actions: readonly Action[]): null {
    this.#running = true;
    this.#target.resume(actions);
    return null;
  }

  #verbose(payload: string): string | null {
    if (payload === "vCont?") return "vCont;c;C;s;S";
    if (payload.startsWith("vCont;")) return this.#continue(payload);
    if (payload.startsWith("vKill")) {
      this.#target.kill();
      return OK;
    }
    return UNKNOWN;
  }

  // --- questions ---------------------------------------------------------------------------------------------------------------------------------

  #query(payload: string): string {
    const [name = ""] = payload.split(/[:,]/);
    switch (name) {
      case "qSupported":
        return this.#supported(payload);
      case "qXfer":
        return this.#transfer(payload);
      case "qAttached":
        return "1";
      case "qC":
        return `QC${this.#id(this.#general)}`;
      case "qfThreadInfo":
        return `m${Array.from({ length: this.#target.cpuCount }, (_, cpu) => this.#id(cpu)).join(",")}`;
      case "qsThreadInfo":
        return "l";
      case "qThreadExtraInfo": {
        const cpu = this.#thread(payload.slice(name.length + 1));
        return cpu === null || cpu < 0 ? BAD_PACKET : hexOfText(this.#target.threadInfo(cpu));
      }
      case "qSymbol":
        return OK;
      case "qRcmd":
        return this.#command(payload.slice(name.length + 1));
      case "qqemu.sstepbits":
        return "ENABLE=1,NOIRQ=2,NOTIMER=4";
      case "qqemu.sstep":
        return `0x${this.#target.stepFlags.toString(16)}`;
      case "qqemu.PhyMemMode":
        return this.#target.physical ? "1" : "0";
      default:
        return UNKNOWN;
    }
  }

  #supported(payload: string): string {
    const features = payload.slice("qSupported:".length).split(";");
    this.#knowsSwbreak = features.includes("swbreak+");
    this.#knowsHwbreak = features.includes("hwbreak+");
    const size = PACKET_SIZE.toString(16);
    return `PacketSize=${size};QStartNoAckMode+;qXfer:features:read+;swbreak+;hwbreak+;vContSupported+`;
  }

  /** `qXfer:features:read:target.xml:offset,length`. */
  #transfer(payload: string): string {
    const match = /^qXfer:features:read:([^:]*):([0-9a-f]+),([0-9a-f]+)$/i.exec(payload);
    if (match === null) return UNKNOWN;
    if (match[1] !== "target.xml") return "E00";
    const { xml } = this.#target;
    const from = Number.parseInt(match[2]!, 16);
    const end = from + Number.parseInt(match[3]!, 16);
    return `${end < xml.length ? "m" : "l"}${xml.slice(from, end)}`;
  }

  /** `monitor …`: what it prints comes in O packets, then OK. */
  #command(hex: string): string {
    const bytes = bytesOfHex(hex);
    if (bytes === null) return BAD_PACKET;
    this.#output(this.#target.monitor(new TextDecoder().decode(bytes).trim()));
    return OK;
  }

  #output(text: string): void {
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length; at += OUTPUT_CHUNK)
      this.#reply(`O${hexOfBytes(bytes.subarray(at, at + OUTPUT_CHUNK))}`);
  }

  #set(payload: string): string {
    if (payload === "QStartNoAckMode") {
      this.#acks = false;
      return OK;
    }
    const step = /^Qqemu\.sstep[=:]([0-7])$/.exec(payload.replace("0x", ""));
    if (step !== null) {
      this.#target.stepFlags = Number(step[1]);
      return OK;
    }
    const physical = /^Qqemu\.PhyMemMode:([01])$/.exec(payload);
    if (physical !== null) {
      this.#target.physical = physical[1] === "1";
      return OK;
    }
    return UNKNOWN;
  }
}

const hexOfText = (text: string): string => hexOfBytes(new TextEncoder().encode(text));
