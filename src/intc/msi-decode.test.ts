/** Intel SDM vol. 3A, section "Message Signalled Interrupts". */
import { expect, test } from "vitest";
import { EVENT } from "../ports/events.ts";
import { InterruptMessage, type MessageBus } from "../ports/message.ts";
import { Clock } from "../sim/clock.ts";
import { Trace } from "../sim/trace.ts";
import { MSI_ADDRESS, MSI_DATA } from "./msi-decode.regs.ts";
import { MsiDecode } from "./msi-decode.ts";

function decode(address: number, data: number, trace: Trace | null = null): Partial<InterruptMessage> | null {
  let got: Partial<InterruptMessage> | null = null;
  const bus: MessageBus = {
    send: message => {
      const { wide: _wide, cause: _cause, ...rest } = message;
      got = rest;
      return 1;
    },
  };
  new MsiDecode(bus, trace).msi(address, data, 0x18, 7);
  return got;
}
const base = { ...new InterruptMessage() } as Partial<InterruptMessage>;
delete base.wide;
delete base.cause;

test("figure positions: destination 19:12, RH 3, DM 2; vector 7:0, mode 10:8, level 14, trigger 15", () => {
  expect([MSI_ADDRESS.destination.mask, MSI_ADDRESS.redirectionHint.mask, MSI_ADDRESS.destinationMode.mask]).toEqual([
    0xff000, 8, 4,
  ]);
  expect([MSI_DATA.deliveryMode.mask, MSI_DATA.level.mask, MSI_DATA.trigger.mask]).toEqual([0x700, 0x4000, 0x8000]);
});
test("a fixed edge message to CPU 3", () => {
  expect(decode(0xfee03000, 0x0041)).toEqual({ ...base, vector: 0x41, destination: 3 });
});
test("logical, redirected, lowest priority", () => {
  expect(decode(0xfee0f00c, 0x4162)).toEqual({
    ...base,
    vector: 0x62,
    deliveryMode: 1,
    destination: 0x0f,
    destinationMode: 1,
    redirectionHint: 1,
  });
});
test("level-triggered assert and de-assert", () => {
  expect(decode(0xfee00000, 0xc041)).toEqual({ ...base, vector: 0x41, trigger: 1, level: 1 });
  expect(decode(0xfee00000, 0x8041)).toEqual({ ...base, vector: 0x41, trigger: 1, level: 0 });
});
test("SMI, NMI, INIT and ExtINT are edge whatever bit 15 says", () => {
  for (const mode of [2, 4, 5, 7]) {
    expect(decode(0xfee00000, 0x8000 | (mode << 8))).toEqual({ ...base, deliveryMode: mode });
  }
});
test("the reserved delivery modes 3 and 6 are dropped", () => {
  expect([decode(0xfee00000, 0x0341), decode(0xfee00000, 0x0641)]).toEqual([null, null]);
});
test("the event names the requester and what it sent", () => {
  const trace = new Trace(new Clock());
  const seen: number[][] = [];
  trace.listen({ event: (_t, kind, subject, a, b, c, _id, cause) => void seen.push([kind, subject, a, b, c, cause]) }, [
    EVENT.msi,
  ]);
  decode(0xfee02000, 0x0141, trace);
  expect(seen).toEqual([[EVENT.msi, 0x18, 0x41, 1, 2, 7]]);
});
