/**
 * Reads a Perfetto trace back, for tests: a decoder that shares nothing with the writer but the wire format. Field numbers: Perfetto's trace_packet.proto,
 * track_event.proto, track_descriptor.proto, interned_data.proto.
 */
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

export const BEGIN = 1;
export const END = 2;
export const INSTANT = 3;

type Message = Map<number, (number | Uint8Array)[]>;

/** Any protobuf message as its fields. */
function decode(bytes: Uint8Array): Message {
  const reader = new BinaryReader(bytes);
  const fields: Message = new Map();
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    let value: number | Uint8Array;
    if (wire === WireType.Varint) value = Number(reader.uint64());
    else if (wire === WireType.Bit64) value = Number(reader.fixed64());
    else value = reader.bytes();
    const values = fields.get(field);
    if (values === undefined) fields.set(field, [value]);
    else values.push(value);
  }
  return fields;
}
const text = (value: unknown): string => new TextDecoder().decode(value as Uint8Array);

/** Tracks and events of a trace, with names resolved. */
export function packets(chunks: Uint8Array[]) {
  const all = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let end = 0;
  for (const chunk of chunks) {
    all.set(chunk, end);
    end += chunk.length;
  }
  const tracks = new Map<number, { name: string; parent: number }>();
  const interned = new Map<number, string>();
  const events: { time: number; type: number; track: string; name: string; flows: number[]; ends: number[] }[] = [];
  for (const packet of (decode(all).get(1) ?? []).map(value => decode(value as Uint8Array))) {
    const descriptor = packet.get(60)?.[0];
    if (descriptor !== undefined) {
      const fields = decode(descriptor as Uint8Array);
      const parent = (fields.get(5)?.[0] ?? 0) as number;
      tracks.set(fields.get(1)![0] as number, { name: text(fields.get(2)![0]), parent });
    }
    for (const data of packet.get(12) ?? []) {
      for (const entry of decode(data as Uint8Array).get(2) ?? []) {
        const fields = decode(entry as Uint8Array);
        interned.set(fields.get(1)![0] as number, text(fields.get(2)![0]));
      }
    }
    const event = packet.get(11)?.[0];
    if (event === undefined) continue;
    const fields = decode(event as Uint8Array);
    events.push({
      time: packet.get(8)![0] as number,
      type: fields.get(9)![0] as number,
      track: tracks.get(fields.get(11)![0] as number)!.name,
      name: interned.get((fields.get(10)?.[0] ?? 0) as number) ?? "",
      flows: (fields.get(47) ?? []) as number[],
      ends: (fields.get(48) ?? []) as number[],
    });
  }
  return { tracks, events };
}
