/**
 * The modelled bus on a whole machine (`--bus`, `--share`): a Sound Blaster's stream against an I/OAT engine that copies three times what the bus can move
 * (interrupts-and-dma.md, "Direct Memory Access Mechanisms", arbitration). The devices are programmed from outside, by their registers alone.
 */
import { describe, expect, test } from "vitest";
import { ISA_SHARE, type BusSpec, type ShareTerms } from "../../src/machine/arbiter-board.ts";
import { scenario, ScriptedMachine } from "../../src/machine/scenario.ts";
import { compute } from "../../src/kernel/index.ts";

const MIB = 1 << 20;
const SECOND = 1_000_000_000;
/** How long is played, in ns, and what: 16 bits, stereo. */
const PLAYED = 100_000_000;
const RATE = 44_100;
const FRAMES = Math.floor((PLAYED / SECOND) * RATE);
const BANDWIDTH = 16 * MIB;
const CHANNELS = 3;
const SIZE = 4096;
const DESCRIPTOR = 64;
/** A copy reads its descriptor and its source, and writes its target. */
const COPY = DESCRIPTOR + 2 * SIZE;
/** Copies that take the whole bus for as long as is played. */
const COPIES = Math.ceil((BANDWIDTH * PLAYED) / SECOND / COPY);

type Pc = ScriptedMachine["pc"];

/** Auto-initialised, block after block, on channel 5; the guide's order of commands. */
function play({ ports, ram }: Pc): void {
  const [buffer, bytes] = [0x20000, 0x1000];
  for (let i = 0; i < bytes; i++) ram.bytes[buffer + i] = i & 0xff;
  const words = bytes / 2;
  const out = (port: number, ...values: number[]): void => {
    for (const value of values) ports.write(port, 1, value);
  };
  out(0xd4, 0x05);
  out(0xd8, 0);
  out(0xd6, 0x59);
  out(0xc4, (buffer >> 1) & 0xff, ((buffer >> 1) >> 8) & 0xff);
  out(0xc6, (words - 1) & 0xff, (words - 1) >> 8);
  out(0x8b, buffer >> 16);
  out(0xd4, 0x01);
  out(0x22c, 0x41, RATE >> 8, RATE & 0xff);
  out(0x22c, 0xb6, 0x30, (words - 1) & 0xff, (words - 1) >> 8);
}

/** A chain of copies in each channel, as long as three times the bus. */
function copy({ pci, space, ram }: Pc): void {
  const view = new DataView(ram.bytes.buffer, ram.bytes.byteOffset);
  const ioat = pci.root.functions().find(({ fn }) => fn.name === "ioat")!.fn;
  ioat.configWrite(4, 2, 6);
  const base = ioat.configRead(0x10, 4) - (ioat.configRead(0x10, 4) % 16);
  for (let n = 0; n < CHANNELS; n++) {
    const chain = MIB * (n + 1);
    for (let i = 0; i < COPIES; i++) {
      const at = chain + i * DESCRIPTOR;
      view.setUint32(at, SIZE, true);
      view.setUint32(at + 8, MIB * 5, true);
      view.setUint32(at + 16, MIB * 6 + n * SIZE, true);
      view.setUint32(at + 24, at + DESCRIPTOR, true);
    }
    const channel = base + 0x80 * (n + 1);
    space.write(channel + 0x10, 4, chain);
    space.write(channel + 0x14, 4, 0);
    space.write(channel + 0x18, 4, 0x8000 + 8 * n);
    space.write(channel + 0x06, 2, COPIES);
  }
}

type Outcome = { frames: number; machine: ScriptedMachine; copied: number; hash: string };

function run(bus: BusSpec | null, busy: boolean): Outcome {
  let frames = 0;
  const machine = new ScriptedMachine(
    scenario(
      {
        memory: 16 * MIB,
        devices: [`ioat,channels=${CHANNELS}`],
        board: { bus, onSound: () => void frames++ },
      },
      made => {
        made.setProgram(0, function* () {
          yield* compute(PLAYED);
        });
        made.at(1000, () => {
          play(made.pc);
          if (busy) copy(made.pc);
        });
      },
    ),
  );
  const { pc } = machine;
  while (pc.clock.now() < PLAYED && pc.run(pc.retired + 1e9, PLAYED) === null);
  const copied =
    pc.bus === null ? 0 : pc.bus.accounts().reduce((sum, { name, bytes }) => sum + (name === ISA_SHARE ? 0 : bytes), 0);
  return { frames, machine, copied, hash: pc.stateHash() };
}

const bus = (policy: BusSpec["policy"], terms: { [name: string]: ShareTerms }): BusSpec => ({
  policy,
  bandwidth: BANDWIDTH,
  turnaroundNs: 0,
  terms: new Map(Object.entries(terms)),
});
/** Copies that are worth more than sound to whoever gave the weights. */
const HEAVY = { ioat: { weight: 64 } };

describe("sound and copies that want three times the bus", () => {
  test("the load is what it says: the copies alone would take the bus for three times as long as is played", () => {
    expect(CHANNELS * COPIES * COPY).toBeGreaterThanOrEqual((3 * BANDWIDTH * PLAYED) / SECOND);
    const { copied } = run(bus("round-robin", {}), true);
    // The bus never rests, and moves what it can.
    expect(copied).toBeGreaterThan(0.98 * ((BANDWIDTH * PLAYED) / SECOND));
  });

  test("on an idle bus every frame comes in time", () => {
    expect(run(bus("weighted", HEAVY), false).frames).toBeGreaterThanOrEqual(FRAMES - 1);
  });

  test("with a guarantee the stream never underruns, and the copies get the rest", () => {
    const { frames, copied, machine } = run(bus("weighted", { ...HEAVY, [ISA_SHARE]: { guaranteed: 200_000 } }), true);
    expect(frames).toBeGreaterThanOrEqual(FRAMES - 1);
    const [isa, ...channels] = machine.pc.bus!.accounts();
    expect(isa).toMatchObject({ name: ISA_SHARE, guaranteed: 200_000 });
    expect(Math.abs(isa!.bytes - 4 * FRAMES)).toBeLessThanOrEqual(8);
    const could = (BANDWIDTH * PLAYED) / SECOND;
    expect(copied / (could - isa!.bytes)).toBeGreaterThan(0.98);
    // A third each, within 2 %.
    for (const { bytes } of channels) expect(Math.abs(bytes / (copied / CHANNELS) - 1)).toBeLessThan(0.02);
  });

  test.each<[string, BusSpec]>([
    ["by weight alone", bus("weighted", HEAVY)],
    ["in turn, with long bursts", bus("round-robin", { ioat: { burst: 256 } })],
    ["behind the copies", bus("fixed", { [ISA_SHARE]: { priority: 99 } })],
  ])("without one it does: %s", (_, spec) => {
    const { frames, machine } = run(spec, true);
    expect(frames).toBeLessThan(0.9 * FRAMES);
    // The report's account says who had to wait: for most of the time.
    const [isa] = machine.pc.bus!.accounts();
    expect(isa!.waited).toBeGreaterThan(0.8 * PLAYED);
  });

  test("it is the same run every time", () => {
    const spec = bus("weighted", { ...HEAVY, [ISA_SHARE]: { guaranteed: 200_000 } });
    expect(run(spec, true).hash).toBe(run(spec, true).hash);
  });

  test("without a bus nothing waits for another", () => {
    expect(run(null, true).frames).toBeGreaterThanOrEqual(FRAMES - 1);
  });
});
