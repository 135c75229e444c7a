/**
 * `iretq acpi --dump`: the firmware's tables as files, for `iasl -d` and the eye. Names: `dsdt.dat` for the DSDT and so on, as acpidump writes them.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { HostError } from "../base/assert.ts";
import { MIB } from "../base/units.ts";
import { firmwareTables } from "../firmware/firmware-tables.ts";
import { boardFacts } from "../machine/board-facts.ts";
import { STATUS } from "../machine/exit.ts";
import { MAX_CPUS } from "../machine/pc-options.ts";
import { processorFacts } from "../machine/processor.ts";
import { OutputFile, reasonOf } from "./files.ts";
import type { AcpiOptions } from "./options.ts";

/** RAM of a machine that was not told how much it has. */
const DEFAULT_MEMORY = 256 * MIB;

/** Writes every table and says where it lies in memory. Throws {@link HostError} with status 74 when a file cannot be written. */
export function dumpTables({ cpus, without, folder }: AcpiOptions, say: (line: string) => void): void {
  if (cpus > MAX_CPUS) throw new HostError(`${cpus} CPUs: 1 to ${MAX_CPUS} are possible`, STATUS.usage);
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new HostError(`cannot make ${folder}: ${reasonOf(error)}`, STATUS.io);
  }
  const processor = processorFacts("GenuineIntel", []);
  const { pieces } = firmwareTables(boardFacts({ cpus, memory: DEFAULT_MEMORY, processor, without }));
  for (const { what, address, bytes } of pieces) {
    const path = join(folder, `${what.toLowerCase().replaceAll(" ", "-")}.dat`);
    const file = new OutputFile(path);
    file.write(bytes);
    file.close();
    say(`${path}  ${bytes.length} bytes at 0x${address.toString(16)}`);
  }
}
