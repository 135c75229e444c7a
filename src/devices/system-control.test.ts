import { beforeEach, describe, expect, it } from "vitest";
import { FUZZ_TIMEOUT, fuzzPart } from "../../test/fuzz-part.ts";
import { Line } from "../ports/line.ts";
import { describePart } from "../ports/part.contract.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import type { Rng } from "../sim/rng.ts";
import { PORT_61, PORT_92, RESET_CONTROL } from "./system-control.regs.ts";
import { SystemControl } from "./system-control.ts";

function make() {
  const queue = new EventQueue(new Clock());
  const nmi = new Line("nmi");
  const told: string[] = [];
  const timer2 = { gate: false, out: false };
  const part = new SystemControl({
    queue,
    nmi: nmi.pin(),
    timer2Gate: level => {
      timer2.gate = level;
    },
    timer2Out: () => timer2.out,
    a20: on => told.push(`a20 ${on}`),
    resetRequest: kind => told.push(kind),
  });
  return {
    part,
    queue,
    nmi,
    told,
    timer2,
    windows: [part.port61, part.port92, part.portCf9],
    outputs: [nmi],
    sent: () => told.length,
    stimulate: (rng: Rng) => {
      if (rng.chance(1, 2)) part.raiseSerr();
      else part.raiseIochk();
    },
  };
}

let rig: ReturnType<typeof make>;
beforeEach(() => {
  rig = make();
});
const write61 = (value: number): void => rig.part.port61.write(0, 1, value);
const read61 = (): number => rig.part.port61.read(0, 1);

describe("system control layouts", () => {
  it("pins the bits of the PIIX4 datasheet", () => {
    expect([PORT_61.serrStatus.mask, PORT_61.iochkStatus.mask, PORT_61.timer2Out.mask]).toEqual([0x80, 0x40, 0x20]);
    expect([PORT_61.refreshToggle.mask, PORT_61.iochkDisable.mask, PORT_61.serrDisable.mask]).toEqual([0x10, 8, 4]);
    expect([PORT_92.fastA20.mask, PORT_92.fastInit.mask]).toEqual([2, 1]);
    // Writing 06h to CF9h is the classic hard reset, 0Eh the full one.
    expect([RESET_CONTROL.hardReset.mask | RESET_CONTROL.resetCpu.mask, RESET_CONTROL.fullReset.mask]).toEqual([6, 8]);
  });
});

describe("port 0x61 (PIIX4 section 4.2.5.1)", () => {
  it("drives GATE 2 and reads OUT 2", () => {
    write61(0x01);
    expect(rig.timer2.gate).toBe(true);
    rig.timer2.out = true;
    expect(read61() & 0x2f).toBe(0x21);
    write61(0x02);
    expect(rig.timer2.gate).toBe(false);
    expect(read61() & 0x0f).toBe(0x02);
  });
  it("toggles the refresh bit every 18 pulses of the timer's clock", () => {
    // 18 / 1193182 Hz = 15085.7 ns.
    const at = (ns: number): number => {
      rig.queue.clock.advanceTo(ns);
      return read61() & 0x10;
    };
    expect([0, 15_085, 15_086, 30_171, 30_172].map(at)).toEqual([0, 0, 0x10, 0x10, 0]);
  });
  it("latches SERR# and IOCHK# onto NMI until the enable bit is set to 1", () => {
    rig.part.raiseSerr();
    expect(rig.nmi.level).toBe(true);
    expect(read61() & 0xc0).toBe(0x80);
    write61(0x04);
    expect(rig.nmi.level).toBe(false);
    rig.part.raiseSerr();
    expect(rig.nmi.level).toBe(false);
    rig.part.raiseIochk();
    expect(read61() & 0xc0).toBe(0x40);
    expect(rig.nmi.level).toBe(true);
    write61(0x08);
    expect(rig.nmi.level).toBe(false);
  });
});

describe("port 0x92 and reset control (PIIX4 sections 4.3.1, 4.4.3)", () => {
  it("tells A20 and asks for INIT on the rising edge of bit 0 only", () => {
    rig.part.port92.write(0, 1, 0x00);
    rig.part.port92.write(0, 1, 0x03);
    rig.part.port92.write(0, 1, 0x03);
    expect(rig.told).toEqual(["a20 false", "a20 true", "init", "a20 true"]);
    expect(rig.part.port92.read(0, 1)).toBe(3);
  });
  it("resets when RCPU goes from 0 to 1: hard with bit 1, else INIT", () => {
    const write = (value: number): void => rig.part.portCf9.write(0, 1, value);
    write(0x02);
    expect(rig.told).toEqual([]);
    write(0x06);
    write(0x06);
    expect(rig.told).toEqual(["system"]);
    write(0x00);
    write(0x04);
    expect(rig.told).toEqual(["system", "init"]);
  });
});

describePart("system control", make);

describe("system control fuzz", () => {
  it(
    "has NMI high exactly while a source is latched",
    () => {
      fuzzPart(make, "system control", { maxAdvance: 1_000_000 }, ({ part, nmi }) => {
        expect(nmi.level).toBe(part.state.serr || part.state.iochk);
      });
    },
    FUZZ_TIMEOUT,
  );
});
