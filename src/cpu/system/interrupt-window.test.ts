import { describe, expect, test } from "vitest";
import { ACTIVITY } from "../../ports/processor.ts";
import { PENDING } from "../layout.ts";
import { FLAG } from "../state.ts";
import { nextEvent, SHADOW_KIND, TAKE } from "./interrupt-window.ts";

const ALL = PENDING.intr | PENDING.nmi | PENDING.init | PENDING.sipi | PENDING.smi | PENDING.debugTrap;
const run = ACTIVITY.running;

describe("priority among concurrent events (SDM vol. 3A, table 6-2)", () => {
  test("task trap, SMI, INIT, debug traps, NMI, maskable interrupts, in this order", () => {
    const order: number[] = [];
    let pending = ALL;
    let debug = 0x8001;
    for (;;) {
      const event = nextEvent(run, pending, debug, FLAG.if, 0, 0);
      if (event === TAKE.none) break;
      order.push(event);
      if (event === TAKE.taskTrap) debug = 1;
      if (event === TAKE.smi) pending &= ~PENDING.smi;
      if (event === TAKE.init) pending &= ~PENDING.init;
      if (event === TAKE.debugTrap) pending &= ~PENDING.debugTrap;
      if (event === TAKE.nmi) pending &= ~PENDING.nmi;
      if (event === TAKE.interrupt) pending &= ~PENDING.intr;
    }
    expect(order).toEqual([TAKE.taskTrap, TAKE.smi, TAKE.init, TAKE.debugTrap, TAKE.nmi, TAKE.interrupt]);
    expect(pending).toBe(PENDING.sipi);
  });
  test("IF masks INTR only (6.8.1)", () => {
    expect(nextEvent(run, PENDING.intr, 0, 0, 0, 0)).toBe(TAKE.none);
    expect(nextEvent(run, PENDING.intr, 0, FLAG.if, 0, 0)).toBe(TAKE.interrupt);
    expect(nextEvent(run, PENDING.nmi, 0, 0, 0, 0)).toBe(TAKE.nmi);
  });
  test("an NMI waits for the IRET of the one in service; interrupts do not (6.7.1)", () => {
    expect(nextEvent(run, PENDING.nmi, 0, FLAG.if, 0, 1)).toBe(TAKE.none);
    expect(nextEvent(run, PENDING.nmi | PENDING.intr, 0, FLAG.if, 0, 1)).toBe(TAKE.interrupt);
  });
  test("the shadow of STI covers INTR; that of MOV SS also NMI and debug traps (6.8.3)", () => {
    expect(nextEvent(run, PENDING.intr, 0, FLAG.if, SHADOW_KIND.sti, 0)).toBe(TAKE.none);
    expect(nextEvent(run, PENDING.intr | PENDING.nmi, 0, FLAG.if, SHADOW_KIND.sti, 0)).toBe(TAKE.nmi);
    const many = PENDING.intr | PENDING.nmi | PENDING.debugTrap;
    expect(nextEvent(run, many, 1, FLAG.if, SHADOW_KIND.movSs, 0)).toBe(TAKE.none);
    expect(nextEvent(run, many | PENDING.init, 1, FLAG.if, SHADOW_KIND.movSs, 0)).toBe(TAKE.init);
  });
  test("wait-for-SIPI takes a start-up IPI and nothing else (8.4)", () => {
    expect(nextEvent(ACTIVITY.waitForSipi, ALL & ~PENDING.sipi, 1, FLAG.if, 0, 0)).toBe(TAKE.none);
    expect(nextEvent(ACTIVITY.waitForSipi, ALL, 1, FLAG.if, 0, 0)).toBe(TAKE.sipi);
    expect(nextEvent(run, PENDING.sipi, 0, FLAG.if, 0, 0)).toBe(TAKE.none);
  });
  test("shutdown is left by SMI, INIT and NMI, not by INTR (6.15, double fault)", () => {
    expect(nextEvent(ACTIVITY.shutdown, PENDING.intr | PENDING.debugTrap, 1, FLAG.if, 0, 0)).toBe(TAKE.none);
    expect(nextEvent(ACTIVITY.shutdown, PENDING.nmi | PENDING.intr, 0, FLAG.if, 0, 0)).toBe(TAKE.nmi);
    expect(nextEvent(ACTIVITY.shutdown, PENDING.init, 0, 0, 0, 0)).toBe(TAKE.init);
  });
  test("HLT is left by an enabled interrupt", () => {
    expect(nextEvent(ACTIVITY.halted, PENDING.intr, 0, FLAG.if, 0, 0)).toBe(TAKE.interrupt);
    expect(nextEvent(ACTIVITY.halted, PENDING.intr, 0, 0, 0, 0)).toBe(TAKE.none);
  });
});
