/** Behaviours of the 8259A data sheet (231468), section names in the test names, on the PC's pair. */
import { describe, expect, test } from "vitest";
import { Line } from "../ports/line.ts";
import { describePart } from "../ports/part.contract.ts";
import { ICW1, ICW4, OCW2, OCW3 } from "./pic8259.regs.ts";
import { PicPair } from "./pic-pair.ts";

type Rig = {
  pic: PicPair;
  levels: boolean[];
  raise(irq: number): void;
  lower(irq: number): void;
  command(chip: 0 | 1, value: number): void;
  data(chip: 0 | 1, value: number): void;
  status(chip: 0 | 1): number;
  masks(chip: 0 | 1): number;
};

function rigOf(): Rig {
  const pic = new PicPair();
  const levels: boolean[] = [];
  pic.connectIntr({ lineChanged: (_pin, level) => void levels.push(level) }, 0);
  const window = (chip: 0 | 1) => (chip === 0 ? pic.masterWindow : pic.slaveWindow);
  return {
    pic,
    levels,
    raise: irq => pic.lineChanged(irq, true, 0),
    lower: irq => pic.lineChanged(irq, false, 0),
    command: (chip, value) => window(chip).write(0, 1, value),
    data: (chip, value) => window(chip).write(1, 1, value),
    status: chip => window(chip).read(0, 1),
    masks: chip => window(chip).read(1, 1),
  };
}

/** The initialization of a PC BIOS or kernel: ICW1 0x11, vectors 0x20 and 0x28, cascade on 2, 8086 mode. */
function initialise(rig: Rig, icw4Master = 0x01, icw4Slave = 0x01, icw1 = 0x11): Rig {
  for (const chip of [0, 1] as const) {
    rig.command(chip, icw1);
    rig.data(chip, chip === 0 ? 0x20 : 0x28);
    rig.data(chip, chip === 0 ? 0x04 : 0x02);
    rig.data(chip, chip === 0 ? icw4Master : icw4Slave);
  }
  return rig;
}

const ready = () => initialise(rigOf());
const EOI = 0x20;

describePart("8259A pair", () => {
  const pic = new PicPair();
  let sent = 0;
  pic.connectIntr({ lineChanged: () => void sent++ }, 0);
  const inputs = Array.from({ length: 16 }, (_, i) => new Line(`irq${i}`, i));
  for (const line of inputs) line.connect(pic, line.index);
  const rig = { ...rigOf(), pic };
  return {
    part: pic,
    windows: [pic.masterWindow, pic.slaveWindow, pic.elcrWindow],
    inputs,
    sent: () => sent,
    stimulate: rng => {
      if (rng.chance(1, 8)) {
        rig.command = (chip, value) => (chip === 0 ? pic.masterWindow : pic.slaveWindow).write(0, 1, value);
        rig.data = (chip, value) => (chip === 0 ? pic.masterWindow : pic.slaveWindow).write(1, 1, value);
        initialise(rig, rng.below(32), rng.below(32));
      } else if (pic.state.intr) pic.acknowledge();
    },
  };
});

describe("register layouts pin the sheet's words", () => {
  test("ICW1 0x11: cascade, edge, ICW4 needed (fig. 7)", () => {
    expect([ICW1.ICW.on(0x11), ICW1.IC4.on(0x11), ICW1.SNGL.on(0x11), ICW1.LTIM.on(0x11)]).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect(ICW1.LTIM.mask).toBe(8);
    expect([ICW4.AEOI.mask, ICW4.SFNM.mask]).toEqual([2, 0x10]);
  });
  test("OCW2 0x63 is the specific EOI of level 3, OCW3 0x0B reads ISR, 0x68 sets special mask (fig. 8)", () => {
    expect([OCW2.SL.on(0x63), OCW2.EOI.on(0x63), OCW2.R.on(0x63), OCW2.L.of(0x63)]).toEqual([true, true, false, 3]);
    expect([OCW3.RR.on(0x0b), OCW3.RIS.on(0x0b), OCW3.KIND.of(0x0b)]).toEqual([true, true, 1]);
    expect([OCW3.ESMM.on(0x68), OCW3.SMM.on(0x68)]).toEqual([true, true]);
  });
});

describe("initialization (Initialization Command Words)", () => {
  test("before the first ICWs the chip drives no INT", () => {
    const rig = rigOf();
    rig.raise(0);
    expect(rig.levels).toEqual([]);
  });
  test("a: the edge sense circuit is reset, an input that is high needs a new low-to-high transition", () => {
    const rig = rigOf();
    rig.raise(1);
    initialise(rig);
    expect(rig.levels).toEqual([]);
    rig.lower(1);
    rig.raise(1);
    expect(rig.levels).toEqual([true]);
    expect(rig.pic.acknowledge()).toBe(0x21);
  });
  test("b: the mask register is cleared; c: IR7 is lowest; e: status read is IRR", () => {
    const rig = ready();
    rig.data(0, 0xff);
    rig.command(0, 0xc3); // set priority: IR3 lowest
    rig.command(0, 0x0b); // read ISR
    initialise(rig);
    expect(rig.masks(0)).toBe(0);
    rig.raise(7);
    rig.raise(0);
    expect(rig.status(0)).toBe(0x81);
    expect(rig.pic.acknowledge()).toBe(0x20);
  });
  test("f: without IC4 all functions of ICW4 are zero: 8080 mode, in which x86 gets the low address byte", () => {
    const rig = ready();
    rig.command(0, 0b101_1_0_1_1_0); // A7–5 = 101, interval 4, single, no ICW4
    rig.data(0, 0x12);
    rig.raise(3);
    expect(rig.pic.acknowledge()).toBe(0b101_011_00);
    rig.command(0, 0b100_1_0_0_1_0); // A7–6 = 10, interval 8
    rig.data(0, 0x12);
    rig.lower(3);
    rig.raise(3);
    expect(rig.pic.acknowledge()).toBe(0b10_011_000);
  });
  test("SNGL: no ICW3 is expected, ICW4 comes next, and IR2 is an ordinary input", () => {
    const rig = rigOf();
    rig.command(0, 0x13);
    rig.data(0, 0x40);
    rig.data(0, 0x01);
    rig.data(0, 0xfe); // OCW1
    expect(rig.masks(0)).toBe(0xfe);
    rig.raise(0);
    expect(rig.pic.acknowledge()).toBe(0x40);
  });
  test("ICW2: T7–T3 of the vector, the input's number below", () => {
    const rig = rigOf();
    rig.command(0, 0x11);
    rig.data(0, 0xff);
    rig.data(0, 4);
    rig.data(0, 1);
    rig.raise(5);
    expect(rig.pic.acknowledge()).toBe(0xfd);
  });
  test("an OCW1 in the middle of the sequence is taken as the next ICW, an ICW1 starts anew", () => {
    const rig = rigOf();
    rig.command(0, 0x11);
    rig.data(0, 0x20);
    rig.command(0, 0x11);
    rig.data(0, 0x30);
    rig.data(0, 4);
    rig.data(0, 1);
    rig.raise(0);
    expect(rig.pic.acknowledge()).toBe(0x30);
  });
});

describe("requests, priorities and EOI (Fully Nested Mode; End of Interrupt)", () => {
  test("IR0 is before IR7, one acknowledge one vector, the ISR bit follows", () => {
    const rig = ready();
    rig.raise(7);
    rig.raise(0);
    rig.raise(4);
    expect(rig.pic.acknowledge()).toBe(0x20);
    rig.command(0, 0x0b);
    expect(rig.status(0)).toBe(0x01);
    rig.command(0, 0x0a);
    expect(rig.status(0)).toBe(0x90);
    expect(rig.pic.state.intr).toBe(false);
    rig.command(0, EOI);
    expect(rig.pic.acknowledge()).toBe(0x24);
    rig.command(0, EOI);
    expect(rig.pic.acknowledge()).toBe(0x27);
  });
  test("a higher level interrupts a lower one in service, not the other way round", () => {
    const rig = ready();
    rig.raise(4);
    expect(rig.pic.acknowledge()).toBe(0x24);
    rig.raise(5);
    expect(rig.pic.state.intr).toBe(false);
    rig.raise(1);
    expect(rig.pic.state.intr).toBe(true);
    expect(rig.pic.acknowledge()).toBe(0x21);
    rig.command(0, 0x0b);
    expect(rig.status(0)).toBe(0x12);
  });
  test("the non-specific EOI resets the highest level in service, the specific EOI the named one", () => {
    const rig = ready();
    rig.raise(4);
    rig.pic.acknowledge();
    rig.raise(1);
    rig.pic.acknowledge();
    rig.command(0, 0x0b);
    rig.command(0, 0x64);
    expect(rig.status(0)).toBe(0x02);
    rig.command(0, EOI);
    expect(rig.status(0)).toBe(0x00);
  });
  test("an edge input that stays high makes one request (Edge Triggered Mode)", () => {
    const rig = ready();
    rig.raise(3);
    rig.pic.acknowledge();
    rig.command(0, EOI);
    expect(rig.pic.state.intr).toBe(false);
    rig.lower(3);
    rig.raise(3);
    expect(rig.pic.state.intr).toBe(true);
  });
  test("masking takes INT down and keeps the request in IRR (Interrupt Mask Register)", () => {
    const rig = ready();
    rig.raise(3);
    rig.data(0, 0x08);
    expect(rig.pic.state.intr).toBe(false);
    expect(rig.status(0)).toBe(0x08);
    rig.data(0, 0x00);
    expect(rig.pic.acknowledge()).toBe(0x23);
  });
});

describe("rotation (Automatic Rotation; Specific Rotation)", () => {
  test("rotate on non-specific EOI makes the served level the lowest", () => {
    const rig = ready();
    rig.raise(4);
    rig.pic.acknowledge();
    rig.command(0, 0xa0);
    rig.raise(6);
    rig.lower(4);
    rig.raise(4);
    rig.raise(5);
    expect(rig.pic.acknowledge()).toBe(0x25);
    rig.command(0, EOI);
    expect(rig.pic.acknowledge()).toBe(0x26);
    rig.command(0, EOI);
    expect(rig.pic.acknowledge()).toBe(0x24);
  });
  test("set priority: with IR5 lowest IR6 is the highest", () => {
    const rig = ready();
    rig.command(0, 0xc5);
    rig.raise(0);
    rig.raise(6);
    expect(rig.pic.acknowledge()).toBe(0x26);
  });
  test("rotate on specific EOI", () => {
    const rig = ready();
    rig.raise(2 + 1);
    rig.pic.acknowledge();
    rig.command(0, 0xe3);
    rig.command(0, 0x0b);
    expect(rig.status(0)).toBe(0);
    rig.raise(0);
    rig.raise(4);
    expect(rig.pic.acknowledge()).toBe(0x24);
  });
});

describe("automatic EOI (Automatic End of Interrupt Mode)", () => {
  test("no ISR bit stays, lower levels come at once", () => {
    const rig = initialise(rigOf(), 0x03);
    rig.raise(1);
    rig.raise(4);
    expect(rig.pic.acknowledge()).toBe(0x21);
    rig.command(0, 0x0b);
    expect(rig.status(0)).toBe(0);
    expect(rig.pic.acknowledge()).toBe(0x24);
  });
  test("rotate in automatic EOI, set by OCW2 0x80 and cleared by 0x00", () => {
    const rig = initialise(rigOf(), 0x03);
    rig.command(0, 0x80);
    rig.raise(1);
    rig.pic.acknowledge();
    rig.lower(1);
    rig.raise(1);
    rig.raise(7);
    expect(rig.pic.acknowledge()).toBe(0x27);
    rig.command(0, 0x00);
    expect(rig.pic.acknowledge()).toBe(0x21);
    rig.lower(7);
    rig.raise(7);
    rig.lower(0);
    rig.raise(0);
    expect(rig.pic.acknowledge()).toBe(0x20); // 7 is still the lowest: 1 did not rotate
  });
});

describe("special mask mode", () => {
  test("a masked level in service lets lower levels through, and its EOI must be specific", () => {
    const rig = ready();
    rig.raise(3);
    rig.pic.acknowledge();
    rig.raise(5);
    expect(rig.pic.state.intr).toBe(false);
    rig.data(0, 0x08);
    rig.command(0, 0x68);
    expect(rig.pic.state.intr).toBe(true);
    expect(rig.pic.acknowledge()).toBe(0x25);
    rig.command(0, 0x0b);
    rig.command(0, EOI);
    expect(rig.status(0)).toBe(0x08);
    rig.command(0, EOI); // "an IS bit that is masked … will not be cleared by a non-specific EOI"
    expect(rig.status(0)).toBe(0x08);
    rig.command(0, 0x63);
    expect(rig.status(0)).toBe(0x00);
  });
});

describe("cascade and special fully nested mode", () => {
  test("a slave's request comes with the slave's vector and sets ISR bits in both", () => {
    const rig = ready();
    rig.raise(12);
    expect(rig.pic.acknowledge()).toBe(0x2c);
    rig.command(0, 0x0b);
    rig.command(1, 0x0b);
    expect([rig.status(0), rig.status(1)]).toEqual([0x04, 0x10]);
    rig.command(1, EOI);
    rig.command(0, EOI);
    expect([rig.status(0), rig.status(1)]).toEqual([0, 0]);
  });
  test("the slave's inputs rank between IR1 and IR3", () => {
    const rig = ready();
    for (const irq of [3, 9, 1]) rig.raise(irq);
    expect(rig.pic.acknowledge()).toBe(0x21);
    rig.command(0, EOI);
    expect(rig.pic.acknowledge()).toBe(0x29);
    rig.command(1, EOI);
    rig.command(0, EOI);
    expect(rig.pic.acknowledge()).toBe(0x23);
  });
  test("a higher request of the same slave waits for the master's EOI", () => {
    const rig = ready();
    rig.raise(12);
    rig.pic.acknowledge();
    rig.raise(8);
    expect(rig.pic.state.intr).toBe(false);
    rig.command(0, EOI);
    expect(rig.pic.acknowledge()).toBe(0x28);
  });
  test("special fully nested: it does not wait, lower levels of the master still do", () => {
    const rig = initialise(rigOf(), 0x11);
    rig.raise(12);
    rig.pic.acknowledge();
    rig.raise(3);
    expect(rig.pic.state.intr).toBe(false);
    rig.raise(8);
    expect(rig.pic.state.intr).toBe(true);
    expect(rig.pic.acknowledge()).toBe(0x28);
  });
  test("a second request of the slave makes a new edge on IR2", () => {
    const rig = ready();
    rig.raise(12);
    rig.raise(13);
    expect(rig.pic.acknowledge()).toBe(0x2c);
    rig.command(1, EOI);
    rig.command(0, EOI);
    expect(rig.pic.acknowledge()).toBe(0x2d);
  });
  test("nobody answers a cascade number that no slave has", () => {
    const rig = rigOf();
    rig.command(0, 0x11);
    for (const value of [0x20, 0x04, 0x01]) rig.data(0, value);
    rig.command(1, 0x11);
    for (const value of [0x28, 0x05, 0x01]) rig.data(1, value);
    rig.raise(9);
    expect(rig.pic.acknowledge()).toBe(0xff);
  });
});

describe("spurious interrupts (Edge and Level Triggered Modes: default IR7)", () => {
  test("a request that goes away before INTA gives level 7 without an ISR bit", () => {
    const rig = ready();
    rig.raise(3);
    rig.lower(3);
    expect(rig.pic.state.intr).toBe(true);
    expect(rig.pic.acknowledge()).toBe(0x27);
    expect(rig.pic.lastSpurious).toBe(true);
    rig.command(0, 0x0b);
    expect(rig.status(0)).toBe(0);
    expect(rig.pic.state.intr).toBe(false);
  });
  test("a real IRQ7 has an ISR bit", () => {
    const rig = ready();
    rig.raise(7);
    expect(rig.pic.acknowledge()).toBe(0x27);
    expect(rig.pic.lastSpurious).toBe(false);
    rig.command(0, 0x0b);
    expect(rig.status(0)).toBe(0x80);
  });
  test("on the slave it is IRQ15 and leaves the master's ISR bit 2 set", () => {
    const rig = ready();
    rig.raise(10);
    rig.lower(10);
    expect(rig.pic.acknowledge()).toBe(0x2f);
    expect(rig.pic.lastSpurious).toBe(true);
    rig.command(0, 0x0b);
    rig.command(1, 0x0b);
    expect([rig.status(0), rig.status(1)]).toEqual([0x04, 0x00]);
  });
  test("a request that is masked after it went away causes none", () => {
    const rig = ready();
    rig.raise(3);
    rig.lower(3);
    rig.data(0, 0x08);
    expect(rig.pic.state.intr).toBe(false);
  });
  test("a request that arrives in between is taken instead", () => {
    const rig = ready();
    rig.raise(3);
    rig.lower(3);
    rig.raise(6);
    expect(rig.pic.acknowledge()).toBe(0x26);
    expect(rig.pic.state.intr).toBe(false);
  });
});

describe("level-triggered inputs (Level Triggered Mode; PIIX3 2.5.5 ELCR)", () => {
  test("a line that is still high requests again after the EOI", () => {
    const rig = ready();
    rig.pic.elcrWindow.write(1, 1, 0x08);
    rig.raise(11);
    for (let i = 0; i < 3; i++) {
      expect(rig.pic.acknowledge()).toBe(0x2b);
      expect(rig.pic.state.intr).toBe(false);
      rig.command(1, EOI);
      rig.command(0, EOI);
    }
    rig.pic.acknowledge();
    rig.lower(11);
    rig.command(1, EOI);
    rig.command(0, EOI);
    expect(rig.pic.state.intr).toBe(false);
  });
  test("LTIM makes all inputs level-triggered, also one that was high at ICW1", () => {
    const rig = rigOf();
    rig.raise(4);
    initialise(rig, 1, 1, 0x19);
    expect(rig.pic.acknowledge()).toBe(0x24);
    rig.command(0, EOI);
    expect(rig.pic.acknowledge()).toBe(0x24);
  });
  test("IRQ 0, 1, 2, 8 and 13 cannot be made level-triggered", () => {
    const rig = ready();
    rig.pic.elcrWindow.write(0, 1, 0xff);
    rig.pic.elcrWindow.write(1, 1, 0xff);
    expect([rig.pic.elcrWindow.read(0, 1), rig.pic.elcrWindow.read(1, 1)]).toEqual([0xf8, 0xde]);
  });
});

describe("poll command", () => {
  test("the next read acknowledges: bit 7 and the level, ISR is set", () => {
    const rig = ready();
    rig.raise(5);
    rig.command(0, 0x0c);
    expect(rig.status(0)).toBe(0x85);
    expect(rig.pic.state.intr).toBe(false);
    rig.command(0, 0x0b);
    expect(rig.status(0)).toBe(0x20);
  });
  test("without a request bit 7 is clear, and only one read is a poll", () => {
    const rig = ready();
    rig.command(0, 0x0c);
    expect(rig.status(0) & 0x80).toBe(0);
    rig.data(0, 0x55);
    expect(rig.masks(0)).toBe(0x55);
  });
  test("a slave is polled by itself", () => {
    const rig = ready();
    rig.data(0, 0xff);
    rig.raise(14);
    rig.command(1, 0x0c);
    expect(rig.status(1)).toBe(0x86);
  });
});

test("INTR is seen low between two acknowledges, so that an edge-sensitive listener counts both", () => {
  const rig = initialise(rigOf(), 0x03);
  rig.raise(1);
  rig.raise(4);
  rig.pic.acknowledge();
  expect(rig.levels).toEqual([true, false, true]);
});
