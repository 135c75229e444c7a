/** Intel SDM vol. 3A, sections "Determining IPI Destination", "Lowest Priority Delivery Mode" and "Broadcast/Self Delivery Mode". */
import { describe, expect, test } from "vitest";
import { DELIVERY } from "../ports/message.ts";
import { describePart } from "../ports/part.contract.ts";
import { ApicRig, messageOf } from "./apic-rig.testing.ts";

function four(): ApicRig {
  const rig = new ApicRig(4);
  for (const apic of rig.lapics) apic.write(0xf0, 4, 0x1ff);
  return rig;
}
const waiting = (rig: ApicRig) => rig.signals.map(s => (s.level ? 1 : 0));
const logical = (destination: number, fields = {}) =>
  messageOf({ vector: 0x50, destinationMode: 1, destination, ...fields });

describePart("APIC fabric", () => {
  const rig = four();
  return {
    part: rig.fabric,
    stimulate: rng => {
      rig.fabric.send(messageOf({ vector: 32 + rng.below(224), deliveryMode: DELIVERY.lowest, destination: 0xff }));
      for (const apic of rig.lapics) apic.write(0x80, 4, rng.below(3) << 4);
    },
  };
});

describe("physical destinations", () => {
  test("go to the one with that id; nobody accepts what nobody has", () => {
    const rig = four();
    expect(rig.fabric.send(messageOf({ vector: 0x50, destination: 2 }))).toBe(1);
    expect(waiting(rig)).toEqual([0, 0, 1, 0]);
    expect(rig.fabric.send(messageOf({ vector: 0x50, destination: 9 }))).toBe(0);
  });
  test("0xFF goes to all", () => {
    const rig = four();
    expect(rig.fabric.send(messageOf({ vector: 0x50, destination: 0xff }))).toBe(4);
  });
  test("follow a written xAPIC id, and a globally disabled APIC gets nothing", () => {
    const rig = four();
    rig.lapics[1]!.write(0x20, 4, 0x4200_0000);
    expect(rig.fabric.send(messageOf({ vector: 0x50, destination: 1 }))).toBe(0);
    expect(rig.fabric.send(messageOf({ vector: 0x50, destination: 0x42 }))).toBe(1);
    rig.lapics[1]!.writeMsr(0x1b, 0xfee00000, 0);
    expect(rig.fabric.send(messageOf({ vector: 0x50, destination: 0x42 }))).toBe(0);
  });
  test("two APICs of one id both get it", () => {
    const rig = four();
    rig.lapics[1]!.write(0x20, 4, 0x0200_0000);
    expect(rig.fabric.send(messageOf({ vector: 0x50, destination: 2 }))).toBe(2);
    expect(waiting(rig)).toEqual([0, 1, 1, 0]);
  });
});

describe("logical destinations (Logical Destination Mode)", () => {
  test("flat model: any common bit of LDR and destination", () => {
    const rig = four();
    rig.lapics.forEach((apic, i) => {
      apic.write(0xd0, 4, (1 << (24 + i)) >>> 0);
    });
    expect(rig.fabric.send(logical(0b0101))).toBe(2);
    expect(waiting(rig)).toEqual([1, 0, 1, 0]);
  });
  test("cluster model: the same cluster, and any common bit of the lower four", () => {
    const rig = four();
    [0x11, 0x12, 0x21, 0x22].forEach((ldr, i) => {
      rig.lapics[i]!.write(0xe0, 4, 0x0fff_ffff);
      rig.lapics[i]!.write(0xd0, 4, (ldr << 24) >>> 0);
    });
    expect(rig.fabric.send(logical(0x23))).toBe(2);
    expect(waiting(rig)).toEqual([0, 0, 1, 1]);
    expect(rig.fabric.send(logical(0x12))).toBe(1);
    expect(waiting(rig)).toEqual([0, 1, 1, 1]);
  });
  test("0xFF matches all, a zero LDR matches nothing else", () => {
    const rig = four();
    expect(rig.fabric.send(logical(0x7f))).toBe(0);
    expect(rig.fabric.send(logical(0xff))).toBe(4);
  });
});

describe("lowest priority", () => {
  test("goes to the one with the lowest processor priority", () => {
    const rig = four();
    [0x40, 0x20, 0x10, 0x30].forEach((tpr, i) => {
      rig.lapics[i]!.write(0x80, 4, tpr);
    });
    const message = messageOf({ vector: 0x90, deliveryMode: DELIVERY.lowest, destination: 0xff });
    expect(rig.fabric.send(message)).toBe(1);
    expect(waiting(rig)).toEqual([0, 0, 1, 0]);
    rig.lapics[2]!.acknowledge(); // PPR is 0x90 now
    rig.fabric.send(message);
    expect(waiting(rig)).toEqual([0, 1, 0, 0]);
  });
  test("of equals in turn", () => {
    const rig = four();
    const chosen: number[] = [];
    for (let i = 0; i < 8; i++) {
      rig.fabric.send(messageOf({ vector: 0x90, deliveryMode: DELIVERY.lowest, destination: 0xff }));
      const index = waiting(rig).indexOf(1);
      chosen.push(index);
      rig.lapics[index]!.acknowledge();
      rig.lapics[index]!.eoi();
    }
    expect(chosen).toEqual([0, 1, 2, 3, 0, 1, 2, 3]);
  });
  test("only among the addressed and the software-enabled", () => {
    const rig = four();
    rig.lapics.forEach((apic, i) => {
      apic.write(0xd0, 4, (1 << (24 + i)) >>> 0);
    });
    rig.lapics[1]!.write(0xf0, 4, 0xff);
    for (let i = 0; i < 4; i++) rig.fabric.send(logical(0b0110, { deliveryMode: DELIVERY.lowest, vector: 0x60 + i }));
    expect(waiting(rig)).toEqual([0, 0, 1, 0]);
    rig.lapics[2]!.write(0xf0, 4, 0xff);
    expect(rig.fabric.send(logical(0b0110, { deliveryMode: DELIVERY.lowest }))).toBe(0);
  });
  test("the redirection hint makes a fixed message choose one", () => {
    const rig = four();
    expect(rig.fabric.send(messageOf({ vector: 0x50, destination: 0xff, redirectionHint: 1 }))).toBe(1);
  });
  test("all excluding self: never the sender", () => {
    const rig = four();
    for (let i = 0; i < 6; i++) rig.lapics[0]!.write(0x300, 4, 0xc_4170 + i);
    expect(waiting(rig)[0]).toBe(0);
  });
});

test("a level-triggered message that de-asserts does nothing", () => {
  const rig = four();
  expect(rig.fabric.send(messageOf({ vector: 0x50, trigger: 1, level: 0 }))).toBe(0);
});
