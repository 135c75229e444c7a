/** PIIX3 data sheet (290550), sections 2.5.1 and 2.5.2; Intel SDM vol. 3A, "Nonmaskable Interrupt (NMI)". */
import { describe, expect, test } from "vitest";
import { Line } from "../ports/line.ts";
import { describePart } from "../ports/part.contract.ts";
import { NmiGate } from "./nmi-gate.ts";

function rigOf() {
  const gate = new NmiGate();
  const lines = [new Line("SERR"), new Line("IOCHK")];
  lines.forEach((line, pin) => {
    line.connect(gate, pin);
  });
  const rig = { gate, lines, pins: lines.map(line => line.pin()), rises: 0, falls: 0 };
  gate.connect({ lineChanged: (_pin, level) => void (level ? rig.rises++ : rig.falls++) }, 1);
  return rig;
}

describePart("NMI gate", () => {
  const gate = new NmiGate();
  const inputs = [new Line("a"), new Line("b")];
  inputs.forEach((line, pin) => {
    line.connect(gate, pin);
  });
  let sent = 0;
  gate.connect({ lineChanged: () => void sent++ }, 1);
  return { part: gate, inputs, sent: () => sent, stimulate: rng => gate.setMasked(rng.chance(1, 2)) };
});

describe("NMI gate", () => {
  test("a source makes one edge, for as long as it holds", () => {
    const rig = rigOf();
    rig.pins[0]!.assert();
    rig.pins[1]!.assert();
    rig.pins[0]!.deassert();
    expect([rig.rises, rig.falls]).toEqual([1, 0]);
    rig.pins[1]!.deassert();
    expect([rig.rises, rig.falls]).toEqual([1, 1]);
  });
  test("a source that holds while masked makes its edge when the gate opens", () => {
    const rig = rigOf();
    rig.gate.setMasked(true);
    rig.pins[0]!.assert();
    expect(rig.rises).toBe(0);
    rig.gate.setMasked(false);
    expect([rig.rises, rig.falls]).toEqual([1, 0]);
  });
  test("sources that came and went while masked make one edge, not more", () => {
    const rig = rigOf();
    rig.gate.setMasked(true);
    rig.pins[0]!.pulse();
    rig.pins[1]!.pulse();
    rig.gate.setMasked(false);
    expect([rig.rises, rig.falls]).toEqual([1, 1]);
    rig.gate.setMasked(true);
    rig.gate.setMasked(false);
    expect(rig.rises).toBe(1);
  });
  test("toggling the mask makes a new edge for a source that still holds", () => {
    const rig = rigOf();
    rig.pins[1]!.assert();
    rig.gate.setMasked(true);
    rig.gate.setMasked(false);
    expect(rig.rises).toBe(2);
  });
});
