/**
 * VT-d Architecture Specification (rev. 4.0), 6.2 "Caching of Remapping Structures" and 6.5 "Invalidation of Translation Caches": what is cached, and what each
 * request drops.
 */
import { describe, expect, test } from "vitest";
import { DEVICE, DOMAIN, REG, VtdRig } from "./vtd-rig.testing.ts";

const READ = 1;
const WRITE = 2;
const RW = 3n;
const FAULT = -1;

/** Pages 0x1000, 0x2000, 0x3000 and the 2 MiB page 0x20_0000, all translated once; then the tables say something else. */
function stale(rig = new VtdRig()) {
  const top = rig.translated();
  const pages = [0x1000, 0x2000, 0x3000, 0x20_0000];
  const say = (base: number): void =>
    pages.forEach((iova, i) => {
      rig.map(top, iova, BigInt(base + i * 0x20_0000) | RW | (i === 3 ? 0x80n : 0n), i === 3 ? 2 : 1);
    });
  say(0x1000_0000);
  const look = (): string =>
    pages.map((iova, i) => (rig.translate(iova, READ) === 0x1000_0000 + i * 0x20_0000 ? "s" : "n")).join("");
  expect(look()).toBe("ssss");
  say(0x2000_0000);
  return { rig, top, look };
}

describe("what is cached (6.2)", () => {
  test("a changed entry goes on being translated as before until it is invalidated", () => {
    const { look } = stale();
    expect(look()).toBe("ssss");
    expect(look()).toBe("ssss");
  });

  test("what was not present or reserved is not cached (CAP.CM = 0)", () => {
    const rig = new VtdRig();
    rig.enable();
    expect(rig.translate(0x1000, READ)).toBe(FAULT);
    rig.context(0n, 0n);
    expect(rig.translate(0x1000, READ)).toBe(FAULT);
    const top = rig.translated();
    expect(rig.translate(0x1000, READ)).toBe(FAULT);
    rig.map(top, 0x1000, (1n << 45n) | RW);
    expect(rig.translate(0x1000, READ)).toBe(FAULT);
    rig.map(top, 0x1000, 0x5000n | RW);
    expect(rig.translate(0x1000, READ)).toBe(0x5000);
    expect(rig.faults()).toEqual([1, 2, 6, 0xc]);
  });

  test('a permission that was added counts from the invalidation on (CAP.CM: "partial permission increases require invalidations")', () => {
    const rig = new VtdRig();
    const top = rig.translated();
    rig.map(top, 0x1000, 0x5000n | 1n);
    expect(rig.translate(0x1000, READ)).toBe(0x5000);
    rig.map(top, 0x1000, 0x5000n | RW);
    expect(rig.translate(0x1000, WRITE)).toBe(FAULT);
    expect(rig.faults()).toEqual([5]);
    rig.write64(REG.IOTLB, (1n << 63n) | (1n << 60n));
    expect(rig.translate(0x1000, WRITE)).toBe(0x5000);
  });

  test("a cached context entry outlives its change", () => {
    const { rig, look } = stale();
    rig.context(0n, 0n);
    expect(look()).toBe("ssss");
    rig.write64(REG.CCMD, (1n << 63n) | (1n << 61n));
    expect(look()).toBe("nnnn");
    expect(new Set(rig.faults())).toEqual(new Set([2]));
  });

  test("a cached pointer to a table is followed although the entry above has gone (6.2.5)", () => {
    const rig = new VtdRig();
    const top = rig.translated();
    rig.map(top, 0x1000, 0x5000n | RW);
    rig.map(top, 0x2000, 0x6000n | RW);
    rig.translate(0x1000, READ);
    rig.memory.put(top, 0n);
    expect(rig.translate(0x2000, READ)).toBe(0x6000);
    rig.write64(REG.IVA, 0x2000n);
    rig.write64(REG.IOTLB, (1n << 63n) | (3n << 60n) | (BigInt(DOMAIN) << 32n));
    expect(rig.translate(0x2000, READ)).toBe(FAULT);
  });

  test("with the hint that only leaves have changed, pointers to tables stay (IH, 11.4.8.2)", () => {
    const rig = new VtdRig();
    const top = rig.translated();
    const leaf = rig.map(top, 0x1000, 0x5000n | RW);
    rig.translate(0x1000, READ);
    rig.memory.put(leaf, 0x7000n | RW);
    rig.memory.put(top, 0n);
    rig.write64(REG.IVA, 0x1040n);
    rig.write64(REG.IOTLB, (1n << 63n) | (3n << 60n) | (BigInt(DOMAIN) << 32n));
    expect(rig.translate(0x1000, READ)).toBe(0x7000);
  });
});

describe("register-based invalidation (6.5.1)", () => {
  const iotlb = (rig: VtdRig, granularity: bigint, domain = DOMAIN): void =>
    rig.write64(REG.IOTLB, (1n << 63n) | (granularity << 60n) | (BigInt(domain) << 32n));

  test("IOTLB global, domain, other domain; the granularity done is reported (IAIG)", () => {
    const one = stale();
    iotlb(one.rig, 2n, DOMAIN + 1);
    expect(one.look()).toBe("ssss");
    iotlb(one.rig, 2n);
    expect(one.look()).toBe("nnnn");
    expect(one.rig.read64(REG.IOTLB)).toBe((2n << 57n) | (2n << 60n) | (BigInt(DOMAIN) << 32n));
    const two = stale();
    iotlb(two.rig, 1n);
    expect(two.look()).toBe("nnnn");
    iotlb(two.rig, 0n);
    expect((two.rig.read64(REG.IOTLB) >> 57n) & 3n).toBe(0n);
  });

  test.each([
    [0x2000n, "sns" + "s"],
    [0x2001n, "snn" + "s"],
    [0x3002n, "nnn" + "s"],
    [0x20_1000n, "sss" + "n"],
    [9n, "nnn" + "s"],
    [10n, "nnn" + "n"],
  ])("IOTLB by page %s (address and mask): only what overlaps is dropped", (iva, wanted) => {
    const { rig, look } = stale();
    rig.write64(REG.IVA, iva);
    iotlb(rig, 3n);
    expect(look()).toBe(wanted);
  });

  test("an address mask beyond CAP.MAMV is not carried out: IAIG 0", () => {
    const { rig, look } = stale();
    rig.write64(REG.IVA, 19n);
    iotlb(rig, 3n);
    expect(look()).toBe("ssss");
    expect((rig.read64(REG.IOTLB) >> 57n) & 3n).toBe(0n);
  });

  test.each([
    [0n, DEVICE, true],
    [0n, DEVICE ^ 4, false],
    [1n, DEVICE ^ 4, true],
    [1n, DEVICE ^ 2, false],
    [2n, DEVICE ^ 6, true],
    [2n, DEVICE ^ 1, false],
    [3n, DEVICE ^ 7, true],
    [3n, DEVICE ^ 8, false],
  ])("context cache by device with function mask %s, source %s (CCMD.FM)", (mask, source, dropped) => {
    const { rig, look } = stale();
    rig.context(0n, 0n);
    const command = (mask << 32n) | (BigInt(source) << 16n) | BigInt(DOMAIN);
    rig.write64(REG.CCMD, (1n << 63n) | (3n << 61n) | command);
    expect(look()).toBe(dropped ? "nnnn" : "ssss");
    expect(rig.read64(REG.CCMD)).toBe((3n << 61n) | (3n << 59n) | command);
  });

  test("context cache by domain", () => {
    const { rig, look } = stale();
    rig.context(0n, 0n);
    rig.write64(REG.CCMD, (1n << 63n) | (2n << 61n) | 8n);
    expect(look()).toBe("ssss");
    rig.write64(REG.CCMD, (1n << 63n) | (2n << 61n) | 7n);
    expect(look()).toBe("nnnn");
  });
});

describe("queued invalidation (6.5.2)", () => {
  const STATUS = 0x8000n;
  /** Wait descriptor: status write of `data`, and the flags given. */
  const wait = (data: bigint, flags = 0n): [bigint, bigint] => [(data << 32n) | 0x20n | flags | 5n, STATUS];

  test("descriptors are carried out in order, the head follows the tail, the wait's status is written", () => {
    const { rig, look } = stale();
    const add = rig.queue();
    add(0x2n | (1n << 4n));
    add(...wait(0xdeadn));
    expect(look()).toBe("nnnn");
    expect([rig.read(REG.IQH), rig.read(REG.IQT)]).toEqual([32, 32]);
    expect(rig.memory.view.getUint32(Number(STATUS), true)).toBe(0xdead);
  });

  test.each([
    ["IOTLB of the domain", 0x22n | (7n << 16n), 0n, "nnnn"],
    ["IOTLB of another domain", 0x22n | (8n << 16n), 0n, "ssss"],
    ["IOTLB by page", 0x32n | (7n << 16n), 0x2000n, "snss"],
    ["IOTLB by page, mask 9", 0x32n | (7n << 16n), 9n, "nnns"],
    ["context cache only", 0x11n, 0n, "ssss"],
  ])("%s", (_, low, high, wanted) => {
    const { rig, look } = stale();
    rig.queue()(low, high);
    expect(look()).toBe(wanted);
    expect(rig.read(REG.FSTS)).toBe(0);
  });

  test("the ring wraps at its size", () => {
    const rig = new VtdRig();
    const add = rig.queue();
    for (let i = 0; i < 600; i++) add(...wait(BigInt(i)));
    expect(rig.read(REG.IQH)).toBe((600 * 16) % 4096);
    expect(rig.memory.view.getUint32(Number(STATUS), true)).toBe(599);
  });

  test("the wait's interrupt: IWC, one event, none more until IWC is cleared (11.4.25)", () => {
    const rig = new VtdRig();
    const add = rig.queue();
    rig.write(REG.IEDATA, 0x52);
    rig.write(REG.IEADDR, 0xfee0_1000);
    rig.write(REG.IECTL, 0);
    add(0x15n);
    add(0x15n);
    expect(rig.read(REG.ICS)).toBe(1);
    expect(rig.bus.sent).toMatchObject([{ vector: 0x52, destination: 1 }]);
    rig.write(REG.ICS, 1);
    expect(rig.read(REG.ICS)).toBe(0);
    add(0x15n);
    expect(rig.bus.sent.length).toBe(2);
  });

  test.each([
    ["an unknown type", 0xfn, 3],
    ["a device-TLB descriptor without device TLBs", 0x3n, 3],
    ["a type with upper bits", 0x205n, 3],
    ["a PASID-cache descriptor without scalable mode", 0x7n | 0x30n, 3],
    ["a reserved bit", 0x2n | 0x10n | (1n << 40n), 4],
    ["a granularity that does not exist", 0x2n, 4],
  ])(
    "%s stops the queue in front of it: IQE, IQEI, fault event; it goes on when the error is cleared",
    (_, low, error) => {
      const rig = new VtdRig();
      const add = rig.queue();
      rig.write(REG.FEDATA, 0x61);
      rig.write(REG.FEADDR, 0xfee0_0000);
      rig.write(REG.FECTL, 0);
      add(...wait(1n));
      add(low);
      add(...wait(2n));
      expect(rig.read(REG.FSTS)).toBe(0x10);
      expect(rig.read(REG.IQH)).toBe(16);
      expect(rig.read(REG.IQERCD)).toBe(error);
      expect(rig.bus.sent).toMatchObject([{ vector: 0x61 }]);
      expect(rig.memory.view.getUint32(Number(STATUS), true)).toBe(1);
      const base = Number(rig.read64(REG.IQA));
      rig.memory.put(base + 16, 0x11n);
      rig.memory.put(base + 24, 0n);
      rig.write(REG.FSTS, 0x10);
      expect([rig.read(REG.FSTS), rig.read(REG.IQH), rig.read(REG.IQERCD)]).toEqual([0, 48, 0]);
      expect(rig.memory.view.getUint32(Number(STATUS), true)).toBe(2);
    },
  );

  test("a queue that no memory answers for, and a tail beyond its end", () => {
    const rig = new VtdRig();
    rig.write64(REG.IQA, 0x8000_0000n);
    rig.command(26, true);
    rig.write(REG.IQT, 16);
    expect([rig.read(REG.FSTS), rig.read(REG.IQERCD)]).toEqual([0x10, 2]);
    const other = new VtdRig();
    other.queue();
    other.write(REG.IQT, 4096);
    expect([other.read(REG.FSTS), other.read(REG.IQERCD), other.read(REG.IQH)]).toEqual([0x10, 1, 0]);
  });

  test("every request is told of, with the low byte of its descriptor, domain and address", () => {
    const rig = new VtdRig();
    rig.listen("iommuInvalidate");
    const add = rig.queue();
    add(0x32n | (7n << 16n), 0x1_2345_6000n);
    add(...wait(1n));
    rig.write64(REG.IOTLB, (1n << 63n) | (2n << 60n) | (7n << 32n));
    expect(rig.events).toEqual([
      [0, 0x32, 7, 0x1_2345_6000],
      [0, 0x25, 0, Number(STATUS)],
      [0, 0x22, 7, 0],
    ]);
  });

  test("while its event is masked, clearing IWC takes the pending event back", () => {
    const rig = new VtdRig();
    const add = rig.queue();
    add(0x15n);
    expect(rig.read(REG.IECTL)).toBe(0xc000_0000);
    rig.write(REG.ICS, 1);
    expect(rig.read(REG.IECTL)).toBe(0x8000_0000);
  });

  test("switching the queue off puts the head to 0", () => {
    const rig = new VtdRig();
    rig.queue()(...wait(1n));
    rig.off(26);
    expect([rig.read(REG.IQH), rig.read(REG.IQT)]).toEqual([0, 16]);
  });
});
