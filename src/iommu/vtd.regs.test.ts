import { expect, test } from "vitest";
import { CAP, ECAP, FRCD, vtdRegisterName } from "./vtd.regs.ts";
import { capabilities } from "./vtd-capabilities.ts";

test("the words of a real unit mean what its data sheet says (7th generation Core, datasheet vol. 2, VC0PREMAP: CAP D2008C40660462h, ECAP F050DAh)", () => {
  const [low, high, ecap] = [0x4066_0462, 0x00d2_008c, 0x00f0_50da];
  expect(CAP.$.describe(low, high).split(" ")).toEqual([
    "domains=0x2",
    "protectedLow",
    "protectedHigh",
    "agaw=0x4",
    "maxGuestAddress=0x26",
    "zeroLengthRead",
    "faultOffsetLow=0x40",
    "superpages=0x3",
    "pageSelective",
    "maxAddressMask=0x12",
    "writeDraining",
    "readDraining",
  ]);
  expect(ECAP.$.describe(ecap, 0).split(" ")).toEqual([
    ...["queuedInvalidation", "interruptRemapping", "extendedInterruptMode", "passThrough", "snoopControl"],
    ...["iotlbOffset=0x50", "maxHandleMask=0xf"],
  ]);
});

test("our capability words, bit by bit (11.4.2, 11.4.3)", () => {
  const words = capabilities({ hostBits: 40, levels: 4, scalable: false, interrupts: true });
  // ND 6, PLMR, PHMR, SAGAW 39 and 48 bits, MGAW 48, ZLR, FRO 0x40; SLLPS 2M and 1G, PSI, NFR 8, MAMV 18, DWD, DRD, PI.
  expect(words[0]).toBe(0x6 | 0x60 | (0b00110 << 8) | (47 << 16) | (1 << 22) | (0x40 << 24));
  expect(words[1]).toBe((3 << 2) | (1 << 7) | (7 << 8) | (18 << 16) | (1 << 22) | (1 << 23) | (1 << 27));
  // C, QI, IR, EIM, PT, SC, IRO 0x50, MHMV 15; ADMS.
  expect(words[2]).toBe(0b1101_1011 | (0x50 << 8) | (0xf << 20));
  expect(words[3]).toBe(1 << 20);
});

test("scalable mode is offered with PASIDs of 20 bits, first, second level and nesting; five levels with FL5LP", () => {
  const words = capabilities({ hostBits: 40, levels: 5, scalable: true, interrupts: false });
  expect(CAP.agaw.of(words[0]!)).toBe(0b01110);
  expect(CAP.maxGuestAddress.of(words[0]!)).toBe(51);
  expect([CAP.firstLevel1G.on(words[1]!), CAP.firstLevel5.on(words[1]!)]).toEqual([true, true]);
  expect(CAP.postedInterrupts.on(words[1]!)).toBe(false);
  expect(ECAP.interruptRemapping.on(words[2]!)).toBe(false);
  // PSS 19, PASID, SMTS, SLTS, FLTS, SMPWCS, RPS, ADMS, RPRIVS.
  expect(words[3]).toBe((19 << 3) | (1 << 8) | (1 << 11) | (0b1111 << 14) | (1 << 20) | (1 << 21));
});

test("fields of a fault record lie where 11.4.14 draws them", () => {
  const places = FRCD.$.fields.map(({ name, word, shift }) => [name, 32 * word + shift]);
  expect(Object.fromEntries(places)).toMatchObject({ source: 64, privileged: 93, execute: 94, hasPasid: 95 });
  expect(Object.fromEntries(places)).toMatchObject({ reason: 96, pasid: 104, type: 126, fault: 127 });
});

test("registers have names", () => {
  const names = [0x18, 0x28, 0x2c, 0x34, 0x508, 0x50c, 0x41c, 0x200].map(vtdRegisterName);
  expect(names).toEqual(["GCMD", "CCMD", "CCMD high", "FSTS", "IOTLB", "IOTLB high", "FRCD1.3", "reserved"]);
});
