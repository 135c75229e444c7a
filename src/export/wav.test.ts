import { expect, test } from "vitest";
import { WavStream } from "./wav.ts";

function record(frames: readonly (readonly [number, number, number])[]): Uint8Array {
  const bytes: number[] = [];
  const stream = new WavStream(piece => void bytes.push(...piece));
  for (const [left, right, rate] of frames) stream.frame(left, right, rate);
  const header = stream.finish();
  return Uint8Array.from([...header, ...bytes.slice(header.length)]);
}

test("RIFF header, then signed 16-bit samples, left before right, low byte first", () => {
  const file = record([
    [1, -2, 22050],
    [0x1234, -32768, 22050],
  ]);
  // RIFF 44 WAVE, fmt chunk of 16 bytes: PCM 1, 2 channels, 22050 = 5622h, 88200 = 15888h bytes/s, 4 bytes, 16 bits; data 8.
  const words = [0x52, 0x49, 0x46, 0x46, 44, 0, 0, 0, 0x57, 0x41, 0x56, 0x45, 0x66, 0x6d, 0x74, 0x20, 16, 0, 0, 0];
  const format = [1, 0, 2, 0, 0x22, 0x56, 0, 0, 0x88, 0x58, 1, 0, 4, 0, 16, 0, 0x64, 0x61, 0x74, 0x61, 8, 0, 0, 0];
  expect([...file]).toEqual([...words, ...format, 1, 0, 0xfe, 0xff, 0x34, 0x12, 0, 0x80]);
});

test("frames of another rate last as long as they should", () => {
  const twice = record([
    [1, 1, 8000],
    [2, 2, 4000],
    [3, 3, 16000],
    [4, 4, 16000],
  ]);
  expect([...twice.subarray(44)].filter((_, i) => i % 4 === 0)).toEqual([1, 2, 2, 4]);
});

test("without sound an empty file, and long sound in one piece", () => {
  expect(record([]).length).toBe(44);
  expect(record(Array.from({ length: 20000 }, () => [5, 5, 44100] as const)).length).toBe(44 + 80000);
});
