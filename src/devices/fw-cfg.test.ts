import { describe, expect, it } from "vitest";
import { FUZZ_TIMEOUT, fuzzPart } from "../../test/fuzz-part.ts";
import { BUS_STATUS, type Initiator } from "../ports/initiator.ts";
import { describePart } from "../ports/part.contract.ts";
import { FW_CFG_DMA, FW_CFG_FEATURES, FW_CFG_KEY } from "./fw-cfg.regs.ts";
import { FwCfg } from "./fw-cfg.ts";

const RAM = 0x10000;

function make(withDma = true) {
  const ram = new Uint8Array(RAM);
  let writes = 0;
  const initiator: Initiator = {
    requester: 0,
    read(address, into, offset, length) {
      if (address + length > RAM) {
        into.fill(0xff, offset, offset + length);
        return BUS_STATUS.masterAbort;
      }
      into.set(ram.subarray(address, address + length), offset);
      return BUS_STATUS.ok;
    },
    write(address, from, offset, length) {
      if (address + length > RAM) return BUS_STATUS.masterAbort;
      writes++;
      ram.set(from.subarray(offset, offset + length), address);
      return BUS_STATUS.ok;
    },
  };
  const part = new FwCfg({
    cpus: 4,
    maxCpus: 8,
    memory: 0x1_8000_0000,
    e820: [
      { base: 0, length: 0x9fc00, type: 1 },
      { base: 0x1_0000_0000, length: 0x8000_0000, type: 1 },
    ],
    files: { "opt/org.example/hello": Uint8Array.from([1, 2, 3, 4, 5]) },
    initiator: withDma ? initiator : null,
  });
  return { part, ram, windows: [part.window, part.dmaWindow], sent: () => writes };
}
type Rig = ReturnType<typeof make>;

const select = ({ part }: Rig, key: number): void => part.window.write(0, 2, key);
const bytes = ({ part }: Rig, count: number): number[] => Array.from({ length: count }, () => part.window.read(1, 1));
const big = (digits: number[]): number => digits.reduce((value, byte) => value * 256 + byte, 0);
const little = (digits: number[]): number => big([...digits].reverse());

/** Finds a file in the directory the way the document describes it. */
function findFile(rig: Rig, name: string): { size: number; key: number } | undefined {
  select(rig, FW_CFG_KEY.fileDirectory);
  const count = big(bytes(rig, 4));
  for (let i = 0; i < count; i++) {
    const [size, key] = [big(bytes(rig, 4)), big(bytes(rig, 2))];
    bytes(rig, 2);
    const text = String.fromCharCode(...bytes(rig, 56)).replace(/\0+$/, "");
    if (text === name) return { size, key };
  }
  return undefined;
}

/** Runs one DMA access at 0x100; returns the control field afterwards. */
function dma(rig: Rig, control: number, length: number, address: number): number {
  const view = new DataView(rig.ram.buffer);
  view.setUint32(0x100, control);
  view.setUint32(0x104, length);
  view.setUint32(0x108, 0);
  view.setUint32(0x10c, address);
  // Big-endian register: the bytes 00 00 01 00 in address order.
  rig.part.dmaWindow.write(4, 4, 0x00010000);
  return view.getUint32(0x100);
}

describe("fw_cfg layouts", () => {
  it("pins the bits of the specification", () => {
    expect(
      [FW_CFG_DMA.error, FW_CFG_DMA.read, FW_CFG_DMA.skip, FW_CFG_DMA.select, FW_CFG_DMA.write].map(f => f.mask),
    ).toEqual([1, 2, 4, 8, 16]);
    expect(FW_CFG_DMA.selector.of(0x0019_000a)).toBe(0x19);
    expect(FW_CFG_FEATURES.dma.mask).toBe(2);
  });
});

describe("fw_cfg items (specification: firmware configuration items)", () => {
  it("has the signature QEMU and reads zeros past its end", () => {
    const rig = make();
    select(rig, 0);
    expect(String.fromCharCode(...bytes(rig, 4))).toBe("QEMU");
    expect(bytes(rig, 2)).toEqual([0, 0]);
  });
  it("starts again when the selector is written, with or without the write bit", () => {
    const rig = make();
    select(rig, 0);
    bytes(rig, 3);
    select(rig, 0x4000);
    expect(bytes(rig, 1)).toEqual(["Q".charCodeAt(0)]);
  });
  it("tells the interface, CPUs and memory in little endian", () => {
    const rig = make();
    select(rig, 1);
    expect(little(bytes(rig, 4))).toBe(3);
    select(rig, 3);
    expect(little(bytes(rig, 8))).toBe(0x1_8000_0000);
    select(rig, 5);
    expect(little(bytes(rig, 2))).toBe(4);
    select(rig, 0xf);
    expect(little(bytes(rig, 2))).toBe(8);
  });
  it("reads zeros from an item that does not exist", () => {
    const rig = make();
    select(rig, 0x3fff);
    expect(bytes(rig, 3)).toEqual([0, 0, 0]);
  });
  it("ignores writes to the data register", () => {
    const rig = make();
    select(rig, 0x4000);
    rig.part.window.write(1, 1, 0);
    expect(bytes(rig, 1)).toEqual([0x51]);
  });
});

describe("fw_cfg files (specification: file directory)", () => {
  it("lists files with big-endian size and key; etc/e820 holds packed 20-byte entries", () => {
    const rig = make();
    const file = findFile(rig, "etc/e820");
    expect(file?.size).toBe(40);
    select(rig, file!.key);
    expect([little(bytes(rig, 8)), little(bytes(rig, 8)), little(bytes(rig, 4))]).toEqual([0, 0x9fc00, 1]);
    expect([little(bytes(rig, 8)), little(bytes(rig, 8)), little(bytes(rig, 4))]).toEqual([
      0x1_0000_0000, 0x8000_0000, 1,
    ]);
  });
  it("holds the user's files at keys from 0x20 on", () => {
    const rig = make();
    const file = findFile(rig, "opt/org.example/hello");
    expect(file?.key).toBeGreaterThanOrEqual(0x20);
    select(rig, file!.key);
    expect(bytes(rig, file!.size)).toEqual([1, 2, 3, 4, 5]);
  });
  it("refuses a name that does not fit with one clear line", () => {
    const files = { ["x".repeat(56)]: new Uint8Array(1) };
    expect(() => new FwCfg({ cpus: 1, memory: 0, e820: [], files })).toThrow(/name too long/);
  });
});

describe("fw_cfg DMA (specification: guest-side DMA interface)", () => {
  it("shows its signature in the address register", () => {
    const { part } = make();
    expect([part.dmaWindow.read(0, 4), part.dmaWindow.read(4, 4)]).toEqual([0x554d4551, 0x47464320]);
  });
  it("selects and reads an item, zeros after its end, and clears the control field", () => {
    const rig = make();
    rig.ram.fill(0xee, 0x200, 0x210);
    expect(dma(rig, 0x0000_000a, 6, 0x200)).toBe(0);
    expect([...rig.ram.subarray(0x200, 0x208)]).toEqual([0x51, 0x45, 0x4d, 0x55, 0, 0, 0xee, 0xee]);
  });
  it("skips, and goes on where the last operation ended", () => {
    const rig = make();
    dma(rig, 0x0000_000c, 1, 0);
    dma(rig, FW_CFG_DMA.read.mask, 2, 0x300);
    expect([...rig.ram.subarray(0x300, 0x302)]).toEqual([0x45, 0x4d]);
    expect(bytes(rig, 1)).toEqual([0x55]);
  });
  it("sets the error bit for a write and for memory that does not answer", () => {
    const rig = make();
    expect(dma(rig, 0x0000_0018, 2, 0x200)).toBe(1);
    expect(dma(rig, 0x0000_000a, 4, 0x8000_0000)).toBe(1);
  });
  it("is absent, and says so, without an initiator", () => {
    const rig = make(false);
    select(rig, 1);
    expect(little(bytes(rig, 4))).toBe(1);
    expect(rig.part.dmaWindow.read(0, 4)).toBe(0xffffffff);
  });
});

describePart("fw_cfg", make);

describe("fw_cfg fuzz", () => {
  it(
    "never reads past an item",
    () => {
      fuzzPart(make, "fw_cfg", { maxAdvance: 0 }, ({ part }) => {
        expect(part.state.offset).toBeLessThanOrEqual(4 + 2 * 64);
      });
    },
    FUZZ_TIMEOUT,
  );
});
