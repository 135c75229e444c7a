/**
 * The board's DSDT: how it is powered off, which interrupt model the operating system chose, the processors, and the devices that cannot be found by
 * asking a bus. ACPI 6.5: `\_S5` 7.4.2, `\_PIC` 5.8.1, processor devices 8.4.
 */
import { HPET_BYTES } from "../../devices/hpet.regs.ts";
import { PM_BLOCK_BYTES, POWER_OFF_TYPES } from "../../devices/acpi-pm.regs.ts";
import type { BoardFacts, IsaDevice } from "../board-facts.ts";
import {
  type Aml,
  device,
  eisaId,
  integer,
  ioPorts,
  irq,
  memory32,
  method,
  name,
  packageOf,
  resources,
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

/** The ports of the power management block belong to nobody else (PNP0C02: motherboard resources). */
function power({ pmBase }: BoardFacts): Aml {
  return device("MBRD", name("_HID", eisaId("PNP0C02")), name("_CRS", resources(ioPorts(pmBase, PM_BLOCK_BYTES))));
}
