/**
 * The board's DSDT: how it is powered off, which interrupt model the operating system chose, the processors, and the devices that cannot be found by
 * asking a bus. ACPI 6.5: `\_S5` 7.4.2, `\_PIC` 5.8.1, processor devices 8.4.
 */
import { HPET_BYTES } from "../../devices/hpet.regs.ts";
import { POWER_OFF_TYPES } from "../../devices/acpi-pm.regs.ts";
import type { BoardFacts, HpetFacts, IsaDevice } from "../board-facts.ts";
import {
  type Aml,
  and,
  arg,
  busNumbers,
  device,
  dwordField,
  eisaId,
  equal,
  ifTrue,
  integer,
  ioPorts,
  irq,
  LOCAL0,
  memory32,
  memoryRange,
  method,
  name,
  not,
  or,
  otherwise,
  packageOf,
  path,
  portRange,
  resources,
  returns,
  scope,
  serialized,
  store,
  string,
  uuid,
} from "./aml.ts";

/** Namespace letters for processor n: `C000` to `CFFF`. */
const processorName = (n: number): string => `C${n.toString(16).toUpperCase().padStart(3, "0")}`;

/** The definition block's terms. */
export function dsdt(board: BoardFacts): Aml {
  const [powerOff] = POWER_OFF_TYPES;
  return [
    ...name("_S5", packageOf(integer(powerOff), integer(powerOff), integer(0), integer(0))),
    ...name("PICM", integer(0)),
    ...method("_PIC", 1, store(arg(0), path("PICM"))),
    ...scope(
      "_SB",
      ...board.apicIds.map((_, n) => processor(n)),
      ...board.isaDevices.map(isaDevice),
      ...(board.hpet === null ? [] : [timer(board.hpet)]),
      power(board),
      pciRoot(board),
    ),
  ];
}

function processor(n: number): Aml {
  return device(processorName(n), name("_HID", string("ACPI0007")), name("_UID", integer(n)));
}

function isaDevice({ name: text, id, uid, ports, irq: line }: IsaDevice): Aml {
  return device(
    text,
    name("_HID", eisaId(id)),
    ...(uid === undefined ? [] : [name("_UID", integer(uid))]),
    name(
      "_CRS",
      resources(...ports.map(([first, count]) => ioPorts(first, count)), ...(line === null ? [] : [irq(line)])),
    ),
  );
}

function timer({ base }: HpetFacts): Aml {
  return device("HPET", name("_HID", eisaId("PNP0103")), name("_CRS", resources(memory32(base, HPET_BYTES))));
}

/** Configuration space of one bus in the memory-mapped window (PCI Express 7.2.2). */
const ECAM_BUS_BYTES = 0x100000;

/** What an ICH9 decodes at PMBASE (Intel 316972, 13.1.12); a shorter claim makes an operating system see two owners. */
const PM_RANGE_BYTES = 128;

/** The power management block and PCI's configuration window belong to nobody else (PNP0C02: motherboard resources). */
function power({ pmBase, pci }: BoardFacts): Aml {
  return device(
    "MBRD",
    name("_HID", eisaId("PNP0C02")),
    name(
      "_CRS",
      resources(ioPorts(pmBase, PM_RANGE_BYTES), memory32(pci.ecamBase, (pci.lastBus + 1) * ECAM_BUS_BYTES)),
    ),
  );
}

const CONFIG_PORTS = 8;
const LAST_PORT = 0xffff;

/** The PCI Express root: what it hands on (6.2.2 _CRS), and where interrupt pins go (6.2.13 _PRT) in either interrupt model. */
function pciRoot({ pci }: BoardFacts): Aml {
  const { configPort, memory, routes, lastBus } = pci;
  const ranges = resources(
    busNumbers(0, lastBus),
    ioPorts(configPort, CONFIG_PORTS),
    portRange(0, configPort - 1),
    portRange(configPort + CONFIG_PORTS, LAST_PORT),
    memoryRange(memory.base, memory.end - 1),
  );
  // Address of all functions of a device; no link device, the interrupt as a number.
  const table = (numberOf: (route: (typeof routes)[number]) => number): Aml =>
    packageOf(
      ...routes.map(route =>
        packageOf(integer(route.device * 0x10000 + 0xffff), integer(route.pin), integer(0), integer(numberOf(route))),
      ),
    );
  return device(
    "PCI0",
    name("_HID", eisaId("PNP0A08")),
    name("_CID", eisaId("PNP0A03")),
    name("_UID", integer(0)),
    name("_CRS", ranges),
    name(
      "PRTA",
      table(route => route.gsi),
    ),
    name(
      "PRTP",
      table(route => route.irq),
    ),
    method("_PRT", 0, ifTrue(path("PICM"), returns(path("PRTA"))), returns(path("PRTP"))),
    osc(),
  );
}

/** PCI Firmware Specification 3.0, 4.5.1: the host bridge's UUID, and the one revision of its capabilities. */
const OSC_UUID = "33DB4D5B-1FF7-401C-9657-7441C03DD766";
const OSC_REVISION = 1;
/** Status bits in the first doubleword (ACPI 6.5, 6.2.11). */
const OSC_STATUS = { unknownUuid: 1 << 2, unknownRevision: 1 << 3, masked: 1 << 4 } as const;
/** Control field (table 4-5): native hot-plug, power management events, advanced error reporting, the PCI Express capability structure. No SHPC. */
const OSC_GRANTED = (1 << 0) | (1 << 2) | (1 << 3) | (1 << 4);

/** _OSC: the operating system asks for services of PCI Express, and gets all that this board has. */
function osc(): Aml {
  const status = path("CDW1");
  const control = path("CDW3");
  const flag = (bit: number): Aml => or(status, integer(bit), status);
  return serialized(
    "_OSC",
    4,
    dwordField(arg(3), 0, "CDW1"),
    ifTrue(
      equal(arg(0), uuid(OSC_UUID)),
      dwordField(arg(3), 8, "CDW3"),
      and(control, integer(OSC_GRANTED), LOCAL0),
      ifTrue(not(equal(arg(1), integer(OSC_REVISION))), flag(OSC_STATUS.unknownRevision)),
      ifTrue(not(equal(control, LOCAL0)), flag(OSC_STATUS.masked)),
      store(LOCAL0, control),
    ),
    otherwise(flag(OSC_STATUS.unknownUuid)),
    returns(arg(3)),
  );
}
