/**
 * VT-d Architecture Specification (rev. 4.0), scalable mode: root, context and PASID tables (9.2, 9.4 to 9.6), first-level (3.6, 9.7), second-level and nested
 * translation (3.7), reasons of 7.1.3.
 */
import { describe, expect, test } from "vitest";
import { DEVICE, REG, ROOT_TABLE, VtdRig } from "./vtd-rig.testing.ts";

const READ = 1;
const WRITE = 2;
const EXECUTE = 4;
const PRIVILEGED = 8;
const FAULT = -1;
const CONTEXTS = 0x2000;
const DIRECTORY = 0x3000;
const PASIDS = 0x4000;
/** The PASID of requests without one (RID_PASID), and another. */
const RID = 1;
const PASID = 0x45;
const DOMAIN = 9n;

const withPasid = (pasid: number): number => 16 | (pasid << 5);

/** The entry's words of the PASID table (9.6): granular translation type, second-level table with width 2 (48 bits), first-level table. */
type Entry = { type: bigint; second?: number; first?: number; word0?: bigint; word2?: bigint; word4?: bigint };

class SmRig extends VtdRig {
  constructor(options = {}) {
    super({ scalable: true, ...options });
    this.memory.put(ROOT_TABLE, BigInt(CONTEXTS) | 1n);
    this.memory.put(ROOT_TABLE + 8, BigInt(CONTEXTS) | 1n);
    this.smContext(BigInt(DIRECTORY) | 0x8n | 1n, BigInt(RID));
    this.memory.put(DIRECTORY, BigInt(PASIDS) | 1n);
    this.memory.put(DIRECTORY + 8, BigInt(PASIDS + 0x1000) | 1n);
    this.enable(BigInt(ROOT_TABLE) | 0x400n);
  }

  smContext(low: bigint, high = 0n, device = DEVICE): void {
    this.memory.put(CONTEXTS + 32 * (device & 0x7f), low);
    this.memory.put(CONTEXTS + 32 * (device & 0x7f) + 8, high);
  }

  pasid(pasid: number, { type, second = 0, first = 0, word0 = 0n, word2 = 0n, word4 = 0n }: Entry): void {
    const at = PASIDS + 64 * pasid;
    this.memory.put(at, BigInt(second) | (type << 6n) | (2n << 2n) | 1n | word0);
    this.memory.put(at + 8, DOMAIN | word2);
    this.memory.put(at + 16, BigInt(first) | word4);
  }

  /** First-level entries: present, writable, user. */
  mapFirst(top: number, address: number, entry: bigint, level = 1, levels = 4): number {
    let table = top;
    for (let l = levels; ; l--) {
      const at = table + 8 * (Math.floor(address / 2 ** (12 + 9 * (l - 1))) % 512);
      if (l === level) {
        this.memory.put(at, entry);
        return at;
      }
      if (this.memory.get(at) === 0n) this.memory.put(at, BigInt(this.table()) | 7n);
      table = Number(this.memory.get(at) & 0xf_ffff_ffff_f000n);
    }
  }

  /** RID_PASID with first-level translation. Returns the top table. */
  firstLevel(extra: Partial<Entry> = {}): number {
    const first = this.table();
    this.pasid(RID, { type: 1n, first, ...extra });
    return first;
  }
}

describe("tables (9.2 to 9.6)", () => {
  test("a request without PASID uses RID_PASID, one with uses its own; second-level and pass-through", () => {
    const rig = new SmRig();
    const second = rig.table();
    rig.pasid(RID, { type: 2n, second });
    rig.pasid(PASID, { type: 4n });
    rig.map(second, 0x1000, 0x5003n);
    expect(rig.translate(0x1010, READ)).toBe(0x5010);
    expect(rig.translate(0x1010, READ | withPasid(PASID))).toBe(0x1010);
    expect(rig.faults()).toEqual([]);
  });

  test("devices 16 to 31 are in the upper half of the root entry", () => {
    const rig = new SmRig();
    rig.pasid(RID, { type: 4n });
    rig.smContext(BigInt(DIRECTORY) | 1n, BigInt(RID), 0x0081);
    expect(rig.translate(0x1010, READ, 0x0081)).toBe(0x1010);
    rig.memory.put(ROOT_TABLE + 8, 0n);
    expect(rig.translate(0, READ, 0x0082)).toBe(FAULT);
    expect(rig.faults()).toEqual([0x39]);
  });

  test.each<[string, number, (rig: SmRig) => void, number]>([
    ["38h root table without memory", 0, rig => rig.enable(0x8000_0400n), READ],
    ["3Ah root entry's reserved bits", 0, rig => rig.memory.put(ROOT_TABLE, BigInt(CONTEXTS) | 5n), READ],
    ["40h context table without memory", 0, rig => rig.memory.put(ROOT_TABLE, 0x8000_0001n), READ],
    ["41h context entry not present", 0, rig => rig.smContext(0n), READ],
    ["42h context entry's device-TLB enable", 0, rig => rig.smContext(BigInt(DIRECTORY) | 5n), READ],
    ["42h context entry's reserved bits", 0, rig => rig.smContext(BigInt(DIRECTORY) | 1n, 1n << 40n), READ],
    ["45h PASIDs are not enabled", 0, rig => rig.smContext(BigInt(DIRECTORY) | 1n), READ | withPasid(1)],
    ["46h PASID beyond the directory of 128 entries", 0, () => {}, READ | withPasid(128 * 64)],
    ["48h RID_PASID beyond the directory", 0, rig => rig.smContext(BigInt(DIRECTORY) | 1n, 0x2000n), READ],
    ["50h directory without memory", 0, rig => rig.smContext(0x8000_0001n, 1n), READ],
    ["51h directory entry not present", 0, rig => rig.memory.put(DIRECTORY, 0n), READ],
    ["52h directory entry's reserved bits", 0, rig => rig.memory.put(DIRECTORY, BigInt(PASIDS) | 5n), READ],
    ["58h PASID table without memory", 0, rig => rig.memory.put(DIRECTORY, 0x8000_0001n), READ],
    ["59h PASID entry not present", 0, () => {}, READ],
    ["5Ah PASID entry's reserved bits", 0, rig => rig.pasid(RID, { type: 4n, word0: 1n << 10n }), READ],
    ["5Ah PASID entry's upper half", 0, rig => rig.memory.put(PASIDS + 64 * RID + 56, 1n), READ],
    ["5Ah first-level tables beyond the host's", 0, rig => rig.pasid(RID, { type: 1n, word4: 1n << 45n }), READ],
    ["5Bh type 0", 0, rig => rig.pasid(RID, { type: 0n }), READ],
    ["5Bh type 5", 0, rig => rig.pasid(RID, { type: 5n }), READ],
    ["5Bh five second levels are not there", 0, rig => rig.pasid(RID, { type: 2n, word0: 1n << 2n }), READ],
    ["5Bh five first levels are not there", 0, rig => rig.pasid(RID, { type: 1n, word4: 1n << 2n }), READ],
    ["87h a request with PASID to the interrupt range", 0xfee0_0000, () => {}, WRITE | withPasid(2)],
    ["5Ch execute requests are not enabled", 0, () => {}, READ | EXECUTE | withPasid(2)],
    ["5Dh supervisor requests are not enabled", 0, () => {}, READ | PRIVILEGED | withPasid(2)],
  ])("%s", (name, address, spoil, access) => {
    const rig = new SmRig();
    rig.pasid(2, { type: 4n });
    if (name.startsWith("5A")) rig.pasid(RID, { type: 4n });
    spoil(rig);
    // Width 1 | 2 = 3 asks for five levels.
    expect(rig.translate(address, access)).toBe(FAULT);
    expect(rig.faults()).toEqual([Number.parseInt(name.slice(0, 2), 16)]);
  });

  test("a record of a request with PASID has the PASID and its privileges (11.4.14)", () => {
    const rig = new SmRig();
    expect(rig.translate(0x1234_5000, READ | EXECUTE | PRIVILEGED | withPasid(PASID))).toBe(FAULT);
    const [low, , source, top] = [0, 4, 8, 12].map(at => rig.read(REG.FRCD + at));
    expect([low, source, top]).toEqual([0x1234_5000, (0xe000_0000 | DEVICE) >>> 0, (0xc000_0059 | (PASID << 8)) >>> 0]);
  });

  test("fault processing disable counts from the context entry, the directory entry or the PASID entry on", () => {
    const rig = new SmRig();
    rig.memory.put(PASIDS + 64 * RID, 2n);
    expect(rig.translate(0, READ)).toBe(FAULT);
    rig.memory.put(DIRECTORY, 2n);
    expect(rig.translate(0, READ)).toBe(FAULT);
    rig.smContext(2n);
    expect(rig.translate(0, READ, DEVICE)).toBe(FAULT);
    expect(rig.faults()).toEqual([]);
  });
});

describe("second level: reasons of scalable mode", () => {
  test.each([
    ["78h a table without memory", 0x8000_0003n, 2, READ, 0x78],
    ["79h not present", 0n, 1, READ, 0x79],
    ["7Ah reserved", (1n << 45n) | 3n, 1, READ, 0x7a],
    ["85h no write permission", 0x5001n, 1, WRITE, 0x85],
    ["86h no read permission", 0x5002n, 1, READ, 0x86],
  ])("%s", (_, entry, level, access, reason) => {
    const rig = new SmRig();
    const second = rig.table();
    rig.pasid(RID, { type: 2n, second });
    rig.map(second, 0x1000, entry, level);
    expect(rig.translate(0x1000, access)).toBe(FAULT);
    expect(rig.translate(2 ** 48, access)).toBe(FAULT);
    expect(rig.faults()).toEqual([reason, 0x84]);
  });
});

describe("first level (3.6, 9.7)", () => {
  test("4 KiB, 2 MiB and 1 GiB pages; accessed and dirty bits are set on the way", () => {
    const rig = new SmRig();
    const top = rig.firstLevel();
    const small = rig.mapFirst(top, 0x1000, 0x5007n);
    const large = rig.mapFirst(top, 0x60_0000, 0x4020_0087n, 2);
    const huge = rig.mapFirst(top, 0x8000_0000, 0x8000_0087n, 3);
    expect(rig.translate(0x1234, READ)).toBe(0x5234);
    expect(rig.memory.get(small)).toBe(0x5027n);
    expect(rig.memory.get(top) & 0x20n).toBe(0x20n);
    expect(rig.translate(0x1234, WRITE)).toBe(0x5234);
    expect(rig.memory.get(small)).toBe(0x5067n);
    expect(rig.translate(0x60_1234, WRITE)).toBe(0x4020_1234);
    expect(rig.memory.get(large)).toBe(0x4020_00e7n);
    expect(rig.translate(0x8123_4567, READ)).toBe(0x8123_4567);
    expect(rig.memory.get(huge)).toBe(0x8000_00a7n);
    expect(rig.faults()).toEqual([]);
  });

  test("bit 12 of a large page is PAT and no address; a table that is read-only makes everything below read-only", () => {
    const rig = new SmRig();
    const top = rig.firstLevel();
    rig.mapFirst(top, 0x60_0000, 0x4020_1087n, 2);
    expect(rig.translate(0x60_1234, READ)).toBe(0x4020_1234);
    rig.mapFirst(top, 0x1000, 0x5007n);
    const directory = rig.mapFirst(top, 0x40_0000, 0n, 2);
    const table = rig.table();
    rig.memory.put(directory, BigInt(table) | 5n);
    rig.memory.put(table, 0x6007n);
    expect(rig.translate(0x40_0000, WRITE)).toBe(FAULT);
    expect(rig.translate(0x40_0000, READ)).toBe(0x6000);
    expect(rig.faults()).toEqual([0x85]);
  });

  test("five levels where they are supported", () => {
    const rig = new SmRig({ levels: 5 });
    const top = rig.firstLevel({ word4: 1n << 2n });
    rig.mapFirst(top, 0x8_0000_0000_1000, 0x5007n, 1, 5);
    expect(rig.translate(0x8_0000_0000_1004, READ)).toBe(0x5004);
  });

  test.each([
    ["80h an address that is not canonical", 0x8000_0000_0000, 0x5007n, 1, READ],
    ["73h the top table without memory", 0x1000, 0n, 0, READ],
    ["70h a table without memory", 0x1000, 0x8000_0007n, 2, READ],
    ["71h not present", 0x1000, 0x5006n, 1, READ],
    ["72h address beyond the host's", 0x1000, (1n << 45n) | 7n, 1, READ],
    ["72h XD without its enable", 0x1000, (1n << 63n) | 0x5007n, 1, READ],
    ["72h low address bits of a 2 MiB page", 0x1000, 0x2087n, 2, READ],
    ["72h PS at the top", 0x1000, 0x87n, 4, READ],
    ["81h a supervisor's page for a user's request", 0x1000, 0x5003n, 1, READ],
    ["85h a read-only page", 0x1000, 0x5005n, 1, WRITE],
  ])("%s", (name, address, entry, level, access) => {
    const rig = new SmRig();
    const top = rig.firstLevel(name.startsWith("73") ? { first: 0x8000_0000 } : {});
    if (level > 0) rig.mapFirst(top, address % 2 ** 47, entry, level);
    expect(rig.translate(address, access)).toBe(FAULT);
    expect(rig.faults()).toEqual([Number.parseInt(name.slice(0, 2), 16)]);
  });

  test("supervisor requests: SRE, then supervisor pages; write protection by WPE; SMEP and XD for execution", () => {
    const [sre, ere, wpe, nxe, smep] = [1n, 2n, 0x10n, 0x20n, 0x40n];
    const ask = (word4: bigint, entry: bigint, access: number): number[] => {
      const rig = new SmRig();
      const first = rig.table();
      rig.pasid(PASID, { type: 1n, first, word4 });
      rig.mapFirst(first, 0x1000, entry);
      return rig.translate(0x1000, access | withPasid(PASID)) === 0x5000 ? [] : rig.faults();
    };
    const supervisor = PRIVILEGED | READ;
    expect(ask(sre, 0x5003n, supervisor)).toEqual([]);
    expect(ask(sre, 0x5001n, supervisor | WRITE)).toEqual([]);
    expect(ask(sre | wpe, 0x5001n, supervisor | WRITE)).toEqual([0x85]);
    expect(ask(sre | ere, 0x5007n, supervisor | EXECUTE)).toEqual([]);
    expect(ask(sre | ere | smep, 0x5007n, supervisor | EXECUTE)).toEqual([0x82]);
    expect(ask(sre | ere | smep, 0x5003n, supervisor | EXECUTE)).toEqual([]);
    expect(ask(ere | nxe, (1n << 63n) | 0x5007n, READ | EXECUTE)).toEqual([0x82]);
    expect(ask(nxe, (1n << 63n) | 0x5007n, READ)).toEqual([]);
  });

  test("requests without PASID are a user's, or a supervisor's with RID_PRIV (9.4)", () => {
    const rig = new SmRig();
    const top = rig.firstLevel();
    rig.mapFirst(top, 0x1000, 0x5003n);
    rig.smContext(BigInt(DIRECTORY) | 9n, BigInt(RID) | (1n << 20n));
    expect(rig.translate(0x1000, READ)).toBe(0x5000);
    expect(rig.translate(0x1000, READ | withPasid(RID))).toBe(FAULT);
    // A zero-length read is a read of nothing, not of everything.
    expect(rig.translate(0x1000, withPasid(RID), DEVICE, 0)).toBe(FAULT);
    expect(rig.faults()).toEqual([0x81, 0x81]);
  });

  test("permissions that were added count at once, as on a processor; ones that were taken only after an invalidation", () => {
    const rig = new SmRig();
    const top = rig.firstLevel();
    const leaf = rig.mapFirst(top, 0x1000, 0x5005n);
    expect(rig.translate(0x1000, READ)).toBe(0x5000);
    rig.memory.put(leaf, 0x5007n);
    expect(rig.translate(0x1000, WRITE)).toBe(0x5000);
    rig.memory.put(leaf, 0x5005n);
    expect(rig.translate(0x1000, WRITE)).toBe(0x5000);
  });
});

describe("nested (3.7)", () => {
  /** Guest tables lie at 0x4000_0000 above where they are; so does everything else. */
  function nested() {
    const rig = new SmRig();
    const [first, second] = [rig.table(), rig.table()];
    rig.pasid(RID, { type: 3n, first: 0x4000_0000 + first, second });
    rig.map(second, 0x4000_0000, 0x83n, 2);
    const tables = [rig.table(), rig.table(), rig.table()];
    const guest = (at: number): bigint => BigInt(0x4000_0000 + at) | 7n;
    rig.memory.put(first, guest(tables[0]!));
    rig.memory.put(tables[0]!, guest(tables[1]!));
    rig.memory.put(tables[1]!, guest(tables[2]!));
    rig.memory.put(tables[2]! + 8, 0x7000_0007n);
    return { rig, first, second, directory: tables[1]!, leaf: tables[2]! + 8 };
  }

  test("tables and pages go through the second level; the smaller page counts", () => {
    const { rig, second, leaf } = nested();
    rig.map(second, 0x7000_0000, 0x9003n);
    expect(rig.translate(0x1234, WRITE)).toBe(0x9234);
    expect(rig.memory.get(leaf)).toBe(0x7000_0067n);
    expect(rig.faults()).toEqual([]);
  });

  test("a large page of the first level over small ones of the second is held as small ones", () => {
    const { rig, second, directory } = nested();
    rig.memory.put(directory + 8, 0x7000_0087n);
    rig.map(second, 0x7000_0000, 0x9003n);
    rig.map(second, 0x7000_1000, 0xd003n);
    expect([rig.translate(0x20_0010, READ), rig.translate(0x20_1010, READ)]).toEqual([0x9010, 0xd010]);
  });

  test.each([
    ["75h tables that the second level does not let be read", 0x82n, 0x9003n, READ, 0x75],
    ["77h accessed bits that it does not let be written", 0x81n, 0x9003n, READ, 0x77],
    ["79h the page is not there", 0x83n, 0n, READ, 0x79],
    ["85h the page is read-only there", 0x83n, 0x9001n, WRITE, 0x85],
  ])("%s", (_, tables, page, access, reason) => {
    const { rig, second } = nested();
    rig.map(second, 0x4000_0000, tables, 2);
    rig.map(second, 0x7000_0000, page);
    expect(rig.translate(0x1000, access)).toBe(FAULT);
    expect(rig.faults()).toEqual([reason]);
  });
});

describe("invalidation", () => {
  const WIDE = 0x800n;
  /** A queue of 256-bit descriptors. */
  function add(rig: SmRig, low: bigint, high = 0n): void {
    if (rig.read64(REG.IQA) === 0n) {
      rig.write64(REG.IQA, BigInt(rig.table()) | WIDE);
      rig.command(26, true);
    }
    const base = Number(rig.read64(REG.IQA) & ~0xfffn);
    const tail = rig.read(REG.IQT);
    rig.memory.put(base + tail, low);
    rig.memory.put(base + tail + 8, high);
    rig.write(REG.IQT, tail + 32);
  }
  function stale() {
    const rig = new SmRig();
    const top = rig.firstLevel();
    const first = rig.table();
    rig.pasid(PASID, { type: 1n, first });
    const say = (page: bigint): void => {
      rig.mapFirst(top, 0x1000, page | 7n);
      rig.mapFirst(top, 0x2000, page | 7n);
      rig.mapFirst(first, 0x1000, page | 7n);
    };
    say(0x5000n);
    const look = (): string =>
      [rig.translate(0x1000, READ), rig.translate(0x2000, READ), rig.translate(0x1000, READ | withPasid(PASID))]
        .map(host => (host === 0x5000 ? "s" : "n"))
        .join("");
    expect(look()).toBe("sss");
    say(0x6000n);
    expect(look()).toBe("sss");
    return { rig, look };
  }
  const domain = DOMAIN << 16n;

  test.each([
    ["PASID-based IOTLB, all of a PASID", 0x26n | domain | (BigInt(RID) << 32n), 0n, "nns"],
    ["PASID-based IOTLB, other PASID", 0x26n | domain | (BigInt(PASID) << 32n), 0n, "ssn"],
    ["PASID-based IOTLB, other domain", 0x26n | (8n << 16n) | (BigInt(RID) << 32n), 0n, "sss"],
    ["PASID-based IOTLB, a page", 0x36n | domain | (BigInt(RID) << 32n), 0x2000n, "sns"],
    ["PASID-based IOTLB, two pages", 0x36n | domain | (BigInt(RID) << 32n), 0x2001n | (0n << 4n), "sns"],
    ["IOTLB of the domain", 0x22n | domain, 0n, "nnn"],
    ["IOTLB by page of the second level", 0x32n | domain, 0x8000_0000n, "nnn"],
    ["PASID cache alone", 0x37n, 0n, "sss"],
  ])("%s", (_, low, high, wanted) => {
    const { rig, look } = stale();
    add(rig, low, high);
    expect(look()).toBe(wanted);
    expect(rig.read(REG.FSTS)).toBe(0);
  });

  test.each([
    ["global", 0x37n, [FAULT, FAULT]],
    ["by domain", 0x07n | domain, [FAULT, FAULT]],
    ["by PASID", 0x17n | domain | (BigInt(PASID) << 32n), [0x1000, FAULT]],
    ["by RID_PASID", 0x17n | domain | (BigInt(RID) << 32n), [FAULT, 0x1000]],
    ["context cache by device", 0x31n | (BigInt(DEVICE) << 32n), [FAULT, FAULT]],
  ])("a PASID entry that has gone stays until its cache is invalidated: %s", (_, low, wanted) => {
    const rig = new SmRig();
    rig.pasid(RID, { type: 4n });
    rig.pasid(PASID, { type: 4n });
    const look = (): number[] => [rig.translate(0x1000, READ), rig.translate(0x1000, READ | withPasid(PASID))];
    look();
    rig.memory.put(PASIDS + 64 * RID, 0n);
    rig.memory.put(PASIDS + 64 * PASID, 0n);
    expect(look()).toEqual([0x1000, 0x1000]);
    add(rig, low);
    expect(look()).toEqual(wanted);
  });

  test("scalable mode wants descriptors of 256 bits, a tail between them is invalid, and registers do nothing (6.5.1, 6.5.2)", () => {
    const { rig, look } = stale();
    rig.write64(REG.IOTLB, (1n << 63n) | (1n << 60n));
    expect((rig.read64(REG.IOTLB) >> 57n) & 3n).toBe(0n);
    expect(look()).toBe("sss");
    rig.queue()(0x12n);
    expect([rig.read(REG.FSTS) & 0x10, rig.read(REG.IQERCD)]).toEqual([0x10, 5]);
    const other = new SmRig();
    add(other, 0x12n);
    other.write(REG.IQT, 48);
    expect(other.read(REG.IQERCD)).toBe(1);
  });
});
