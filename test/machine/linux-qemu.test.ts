/**
 * The lines of a kernel's log that linux.test.ts lets pass are lines that the same kernel prints on QEMU, with as many CPUs and the same parameters.
 */
import { describe, expect, test } from "vitest";
import { BOOT_MS, bootOnQemu, CASES, canBoot, hasQemu, nameOf } from "./linux-boot.ts";
import { known, suspicious } from "./linux-complaints.ts";

const cases = CASES.filter(boot => canBoot(boot) && boot.devices === undefined && boot.entry === undefined).map(
  boot => [nameOf(boot), boot] as const,
);

describe.runIf(hasQemu && cases.length > 0)("on QEMU", () => {
  // QEMU's clock is the host's: a host that is busy may need a second try.
  test.each(cases)("%s", { timeout: 2 * BOOT_MS, retry: 1 }, async (_name, boot) => {
    const lines = await bootOnQemu(boot);
    expect(lines).toContain("END");
    const theirs = suspicious(lines);
    expect(known(boot).filter(line => !theirs.includes(line))).toEqual([]);
  });
});
