/**
 * The board's DSDT: how it is powered off, which interrupt model the operating system chose, the processors, and the devices that cannot be found by
 * asking a bus. ACPI 6.5: `\_S5` 7.4.2, `\_PIC` 5.8.1, processor devices 8.4.
 */
import { HPET_BYTES } from "../../devices/hpet.regs.ts";
import { PM_BLOCK_BYTES, POWER_OFF_TYPES } from "../../devices/acpi-pm.regs.ts";
import type { BoardFacts, IsaDevice } from "../board-facts.ts";
import {
  type Aml,
  busNumbers,
  device,
  eisaId,
  ifName,
  integer,
  ioPorts,
  irq,
  memory32,
  memoryRange,
  method,
  name,
  packageOf,
  path,
  portRange,
  resources,
  returns,
  scope,
  storeArg0,
  string,
} from "./aml.ts";

/** Namespace letters for processor n: `C000` to `CFFF`. */
const processorName = (n: number): string => `C${n.toString(16).toUpperCase().padStart(3, "0")}`;

/** The definition block's terms. */
export function dsdt(board: BoardFacts): Aml {
  const [powerOff] = POWER_OFF_TYPES;
  return [
    ...name("_S5", packageOf(integer(powerOff), integer(powerOff), integer(0), integer(0))),
    ...name("PICM", integer(0)),
    ...method("_PIC", 1, storeArg0("PICM")),
    ...scope(
      "_SB",
      ...board.apicIds.map((_, n) => processor(n)),
      ...board.isaDevices.map(isaDevice),
      timer(board),
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

function timer({ hpetBase }: BoardFacts): Aml {
  return device("HPET", name("_HID", eisaId("PNP0103")), name("_CRS", resources(memory32(hpetBase, HPET_BYTES))));
}

/** Configuration space of one bus in the memory-mapped window (PCI Express 7.2.2). */
const ECAM_BUS_BYTES = 0x100000;

/** The power management block and PCI's configuration window belong to nobody else (PNP0C02: motherboard resources). */
function power({ pmBase, pci }: BoardFacts): Aml {
  return device(
    "MBRD",
    name("_HID", eisaId("PNP0C02")),
    name(
      "_CRS",
      resources(ioPorts(pmBase, PM_BLOCK_BYTES), memory32(pci.ecamBase, (pci.lastBus + 1) * ECAM_BUS_BYTES)),
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
    method("_PRT", 0, ifName("PICM", returns(path("PRTA"))), returns(path("PRTP"))),
  );
}
