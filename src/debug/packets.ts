/**
 * Packets of the GDB Remote Serial Protocol (GDB manual, appendix "Remote Serial Protocol", section "Overview"): `$payload#checksum`, acknowledgements,
 * escapes, the interrupt byte. Pure: bytes in, bytes out. A payload is a string with one character per byte. Run-length encoding is understood in neither
 * direction (a client never sends it, a server need not).
 */
const START = 0x24;
const END = 0x23;
const ESCAPE = 0x7d;
const STAR = 0x2a;
const ACK = 0x2b;
const NAK = 0x2d;
const INTERRUPT = 0x03;
const ESCAPE_XOR = 0x20;
/** A payload that is longer than this is no packet of ours: line noise, or somebody who does not speak the protocol. */
const LONGEST = 1 << 20;

export interface PacketListener {
  packet(payload: string): void;
  /** The byte 0x03 between packets. */
  interrupt(): void;
  /** The other side did not understand our last packet. */
  resend(): void;
  /** Wants `+` or `-` sent. */
  acknowledge(good: boolean): void;
}

export class PacketReader {
  readonly #listener: PacketListener;
  #place: "outside" | "payload" | "first digit" | "second digit" = "outside";
  #bytes: number[] = [];
  #sum = 0;
  #escaped = false;
  #claimed = 0;

  constructor(listener: PacketListener) {
    this.#listener = listener;
  }

  push(bytes: Uint8Array): void {
    for (const byte of bytes) this.#byte(byte);
  }

  #byte(byte: number): void {
    switch (this.#place) {
      case "outside":
        this.#outside(byte);
        break;
      case "payload":
        this.#payload(byte);
        break;
      case "first digit":
        this.#claimed = digit(byte) * 16;
        this.#place = "second digit";
        break;
      case "second digit":
        this.#finish(this.#claimed + digit(byte));
    }
  }

  #outside(byte: number): void {
    if (byte === START) this.#begin();
    else if (byte === INTERRUPT) this.#listener.interrupt();
    else if (byte === NAK) this.#listener.resend();
  }

  #begin(): void {
    this.#place = "payload";
    this.#bytes = [];
    this.#sum = 0;
    this.#escaped = false;
  }

  #payload(byte: number): void {
    if (byte === START) {
      // A packet that broke off.
      this.#begin();
      return;
    }
    if (byte === END) {
      this.#place = "first digit";
      return;
    }
    this.#sum = (this.#sum + byte) & 0xff;
    if (this.#escaped) this.#bytes.push(byte ^ ESCAPE_XOR);
    else if (byte !== ESCAPE) this.#bytes.push(byte);
    this.#escaped = !this.#escaped && byte === ESCAPE;
    if (this.#bytes.length > LONGEST) this.#place = "outside";
  }

  #finish(claimed: number): void {
    this.#place = "outside";
    const good = claimed === this.#sum;
    this.#listener.acknowledge(good);
    if (good) this.#listener.packet(textOf(this.#bytes));
  }
}

/** NaN for what is no hexadecimal digit, so that the checksum is wrong. */
const digit = (byte: number): number => Number.parseInt(String.fromCharCode(byte), 16);

/** One character per byte. */
export function textOf(bytes: ArrayLike<number>): string {
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += String.fromCharCode(bytes[i]!);
  return text;
}

/** The bytes of a packet with this payload. */
export function framed(payload: string): Uint8Array {
  const bytes: number[] = [START];
  let sum = 0;
  const put = (byte: number): void => {
    bytes.push(byte);
    sum = (sum + byte) & 0xff;
  };
  for (let i = 0; i < payload.length; i++) {
    const byte = payload.charCodeAt(i);
    if (byte === START || byte === END || byte === ESCAPE || byte === STAR) {
      put(ESCAPE);
      put(byte ^ ESCAPE_XOR);
    } else put(byte);
  }
  bytes.push(END, ...[...sum.toString(16).padStart(2, "0")].map(c => c.charCodeAt(0)));
  return Uint8Array.from(bytes);
}

export const ACKNOWLEDGED = Uint8Array.of(ACK);
export const REFUSED = Uint8Array.of(NAK);

export function hexOfBytes(bytes: ArrayLike<number>): string {
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += bytes[i]!.toString(16).padStart(2, "0");
  return text;
}

/** Null for what is no hexadecimal. */
export function bytesOfHex(text: string): Uint8Array | null {
  if (text.length % 2 !== 0 || /[^0-9a-fA-F]/.test(text)) return null;
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(i * 2, i * 2 + 2), 16);
  return bytes;
}

/** An address as the machine has them: a signed number, canonical addresses of the upper half are negative. NaN for no hexadecimal. */
export function addressOf(hex: string): number {
  return /^[0-9a-fA-F]{1,16}$/.test(hex) ? Number(BigInt.asIntN(64, BigInt(`0x${hex}`))) : Number.NaN;
}

/** An address as the protocol writes it: 64 bits, unsigned, hexadecimal. */
export const hexOfAddress = (address: number): string => BigInt.asUintN(64, BigInt(address)).toString(16);
