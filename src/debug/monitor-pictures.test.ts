/** `monitor lapic`, `ioapic` and `pic`, word for word, of controllers that software has set up by hand. */
import { expect, test } from "vitest";
import { MIB } from "../base/units.ts";
import { FakeProcessor } from "../machine/fake-processor.ts";
import { Pc } from "../machine/pc.ts";
import { ioapicText, lapicText, picText } from "./monitor-controllers.ts";

const sector = new Uint8Array(512);
sector.set([0x55, 0xaa], 510);

/** A board whose CPU does nothing. */
const board = (): Pc =>
  new Pc({
    ...{ cpus: 1, memory: 4 * MIB, image: { name: "sector", bytes: sector, args: "" } },
    makeProcessor: given => new FakeProcessor(given.index, () => {}, !given.bsp),
  });

test("a local APIC (SDM vol. 3A, figures 11-8, 11-10 to 11-20): one interrupt in service, one that waits, the timer masked", () => {
  const pc = board();
  const lapic = pc.lapics[0]!;
  const write = (offset: number, value: number): void => void lapic.write(offset, 4, value);
  write(0xf0, 0x1ff);
  write(0x80, 0x20);
  write(0xd0, 0x02000000);
  write(0x320, 0x300b0);
  write(0x350, 0x700);
  write(0x360, 0x400);
  write(0x370, 0x000fe);
  write(0x3e0, 0xb);
  // To itself: 0x45 is acknowledged and so in service; 0x31 waits behind its class, the processor's priority is 0x40.
  write(0x300, 0x44045);
  lapic.acknowledge();
  write(0x300, 0x44031);
  expect(lapicText(pc, 0)).toEqual([
    "local APIC 0: xAPIC, id 0x00",
    "IA32_APIC_BASE  bsp enable base=0xfee00 baseHigh=0x00",
    "version         version=0x14 maxLvt=0x06 eoiBroadcastSuppression",
    "SVR             vector=0xff enable",
    "TPR             0x20",
    "PPR             0x40",
    "LDR             0x02000000  DFR 0xffffffff",
    "IRR             0x31",
    "ISR             0x45",
    "TMR             none",
    "ESR             none",
    "ICR             vector=0x31 fixed physical level edge self destination=0x00",
    "LVT timer       vector=0xb0 masked periodic",
    "LVT LINT0       vector=0x00 ExtINT active-high edge",
    "LVT LINT1       vector=0x00 NMI active-high edge",
    "LVT error       vector=0xfe fixed",
    "LVT perf        vector=0x00 fixed masked",
    "LVT thermal     vector=0x00 fixed masked",
    "LVT CMCI        vector=0x00 fixed masked",
    "timer           initial 0, current 0",
    "divider         0x0b",
    "INTR            not asserted",
  ]);
});

test("the I/O APIC (82093AA, 3.2): one for the keyboard, one level-triggered by lowest priority, the timer's line high", () => {
  const pc = board();
  const put = (index: number, value: number): void => {
    pc.space.write(0xfec00000, 4, index);
    pc.space.write(0xfec00010, 4, value);
  };
  put(0, 0x02000000);
  for (let pin = 0; pin < 24; pin++) put(0x10 + 2 * pin, 0x10000);
  put(0x13, 0x01000000);
  put(0x12, 0x41);
  put(0x21, 0x0f000000);
  put(0x20, 0x19951);
  const names = ["8259", "keyboard", "timer", "ISA 3", "serial", "sound", "floppy", "ISA 7", "RTC", "ACPI", "ISA 10"];
  names.push("ISA 11", "mouse", "FERR", "disk 1", "disk 2", ...[16, 17, 18, 19, 20, 21, 22, 23].map(n => `PCI ${n}`));
  const entries = names.map(() => "vector=0x00 fixed physical active-high edge masked destination=0x00");
  entries[1] = "vector=0x41 fixed physical active-high edge destination=0x01";
  entries[2] += "  line asserted";
  // Delivery status (bit 12) is read-only.
  entries[8] = "vector=0x51 lowest logical active-high level masked destination=0x0f";
  expect(ioapicText(pc)).toEqual([
    "I/O APIC: id 0x02, IOREGSEL 0x20",
    ...names.map((name, pin) => `pin ${`${pin}`.padStart(2)} ${name.padEnd(9)} ${entries[pin]}`),
  ]);
});

test("the 8259 pair (8259A data sheet, ICW1 to ICW4, OCW1 to OCW3)", () => {
  const pc = board();
  for (const [port, value] of [
    ...[[0x20, 0x11] as const, [0x21, 0x30] as const, [0x21, 0x04] as const, [0x21, 0x03] as const],
    ...[[0xa0, 0x11] as const, [0xa1, 0x38] as const, [0xa1, 0x02] as const, [0xa1, 0x01] as const],
    ...[[0x21, 0xf9] as const, [0xa1, 0xfe] as const, [0x4d1, 0x02] as const, [0xa0, 0x68] as const],
  ])
    pc.ports.write(port, 1, value);
  expect(picText(pc)).toEqual([
    "8259 master: vectors from 0x30",
    "  IRR  none",
    "  ISR  none",
    "  IMR  0xf9, masked: 0 (timer), 3 (ISA 3), 4 (serial), 5 (sound), 6 (floppy), 7 (ISA 7)",
    "  lines asserted: 0 (timer)",
    "  level-triggered (ELCR): none",
    "  lowest priority: 7, automatic EOI",
    "8259 slave: vectors from 0x38",
    "  IRR  none",
    "  ISR  none",
    "  IMR  0xfe, masked: 9 (ACPI), 10 (ISA 10), 11 (ISA 11), 12 (mouse), 13 (FERR), 14 (disk 1), 15 (disk 2)",
    "  lines asserted: none",
    "  level-triggered (ELCR): 9 (ACPI)",
    "  lowest priority: 7, special mask mode",
    "INTR not asserted",
  ]);
});
