/**
 * A name server for a handful of fixed names: addresses (A) and the way back (PTR). RFC 1035, 4 (messages), 3.5 (IN-ADDR.ARPA); RFC 2308, 2 (a name
 * without records of the type that was asked for is no error).
 *
 * Not modelled: EDNS, which servers may ignore; SOA records in negative answers; questions by TCP.
 */
import { ascii, get16, type Ipv4Address, ipv4Text, put16, put32 } from "./bytes.ts";

const HEADER = 12;
/** Offsets of the header's words (RFC 1035, 4.1.1). */
const DNS = { flags: 2, questions: 4, answers: 6, authorities: 8, additionals: 10 } as const;
const FLAG = { response: 0x8000, authoritative: 0x0400, recursionDesired: 0x0100, recursionAvailable: 0x0080 } as const;
const OPCODE = 0x7800;
export const RCODE = { ok: 0, format: 1, noSuchName: 3, notImplemented: 4 } as const;
const TYPE = { a: 1, ptr: 12, any: 255 } as const;
const CLASS_IN = 1;
const CLASS_ANY = 255;
/** A pointer to the name in the question (4.1.4). */
const QUESTION_NAME = 0xc000 | HEADER;
const MAX_NAME = 255;
/** Seconds that an answer may be kept. */
const TIME_TO_LIVE = 3600;

type Question = { readonly name: string; readonly type: number; readonly kind: number; readonly end: number };
type Answer = { readonly type: number; readonly data: Uint8Array };

/** Names in lower case without a dot at the end, and their addresses. */
export type Names = ReadonlyMap<string, Ipv4Address>;

/** The response to a query, null for what is none. */
export function answerDns(query: Uint8Array, names: Names): Uint8Array | null {
  if (query.length < HEADER || (get16(query, DNS.flags) & FLAG.response) !== 0) return null;
  if ((get16(query, DNS.flags) & OPCODE) !== 0) return respond(query, HEADER, RCODE.notImplemented, []);
  const question = get16(query, DNS.questions) === 1 ? parseQuestion(query) : null;
  if (question === null) return respond(query, HEADER, RCODE.format, []);
  const answers = lookUp(question, names);
  return respond(query, question.end, answers === null ? RCODE.noSuchName : RCODE.ok, answers ?? []);
}

function parseQuestion(query: Uint8Array): Question | null {
  const labels: string[] = [];
  let at = HEADER;
  for (;;) {
    const length = query[at] ?? 0xff;
    // The two top bits would make a pointer, and there is nothing before a first name to point to.
    if (length > 63 || at + 1 + length > query.length || at - HEADER > MAX_NAME) return null;
    at++;
    if (length === 0) break;
    labels.push(String.fromCharCode(...query.subarray(at, at + length)).toLowerCase());
    at += length;
  }
  if (at + 4 > query.length) return null;
  return { name: labels.join("."), type: get16(query, at), kind: get16(query, at + 2), end: at + 4 };
}

/** The records that fit; null when there is no such name. */
function lookUp({ name, type, kind }: Question, names: Names): Answer[] | null {
  if (kind !== CLASS_IN && kind !== CLASS_ANY) return null;
  const records: Answer[] = [];
  const address = names.get(name);
  if (address !== undefined) {
    const data = new Uint8Array(4);
    put32(data, 0, address);
    records.push({ type: TYPE.a, data });
  }
  for (const [host, at] of names) {
    if (reverseName(at) === name) records.push({ type: TYPE.ptr, data: encodeName(host) });
  }
  if (records.length === 0) return null;
  return records.filter(record => type === TYPE.any || record.type === type);
}

const reverseName = (address: Ipv4Address): string =>
  `${ipv4Text(address).split(".").reverse().join(".")}.in-addr.arpa`;

function encodeName(name: string): Uint8Array {
  const bytes: number[] = [];
  for (const label of name.split(".")) bytes.push(label.length, ...ascii(label));
  return Uint8Array.from([...bytes, 0]);
}

/** @param end of the header or of the question, which comes back in the response */
function respond(query: Uint8Array, end: number, code: number, answers: readonly Answer[]): Uint8Array {
  const size = answers.reduce((sum, { data }) => sum + 12 + data.length, end);
  const response = new Uint8Array(size);
  response.set(query.subarray(0, end));
  const kept = get16(query, DNS.flags) & (OPCODE | FLAG.recursionDesired);
  const { response: isResponse, authoritative, recursionAvailable } = FLAG;
  put16(response, DNS.flags, kept | isResponse | authoritative | recursionAvailable | code);
  put16(response, DNS.questions, end > HEADER ? 1 : 0);
  put16(response, DNS.answers, answers.length);
  put16(response, DNS.authorities, 0);
  put16(response, DNS.additionals, 0);
  let at = end;
  for (const { type, data } of answers) {
    put16(response, at, QUESTION_NAME);
    put16(response, at + 2, type);
    put16(response, at + 4, CLASS_IN);
    put32(response, at + 6, TIME_TO_LIVE);
    put16(response, at + 10, data.length);
    response.set(data, at + 12);
    at += 12 + data.length;
  }
  return response;
}
