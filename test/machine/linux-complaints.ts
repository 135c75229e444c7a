/** Lines of a kernel's log that ask for attention, and those of them that the same kernel prints on QEMU, too (linux-qemu.test.ts sees to that). */
import type { Case } from "./linux-boot.ts";

/** Lines that a kernel prints when the machine is wrong. */
const COMPLAINTS =
  /spurious|nobody cared|\blost\b|lockup|APIC error|WARNING|BUG:|Call Trace|MTRRs disabled|unable to calibrate|panic/i;
/** Lines that may tell of something missing or not understood. */
const SUSPICIOUS =
  /error|fail|invalid|\bbugs?\b|unable|not (?:found|present|supported)|cannot|can't|unsupported|unknown|missing|wrong|overlap|illegal|stuck|time(?:d )?out|disabled|retains|inconsistent|unexpected|ignor/i;
/** The counters of /proc/interrupts have names of their own. */
const COUNTER = /^ *\w+:(?: +\d+)+ /;

const matching = (lines: readonly string[], what: RegExp): string[] =>
  lines.filter(line => what.test(line) && !COUNTER.test(line));

const complaints = (lines: readonly string[]): string[] => matching(lines, COMPLAINTS);

/** Without time stamps and numbers, each once: so that logs of two machines can be compared. */
export const suspicious = (lines: readonly string[]): string[] => [
  ...new Set(
    [...matching(lines, SUSPICIOUS), ...complaints(lines)].map(line =>
      line
        .replace(/^\[ *\d+\.\d+\] /, "")
        .replace(/0x[0-9a-f]+/gi, "#")
        .replace(/\d+/g, "#")
        .trim(),
    ),
  ),
];

const ALWAYS = [
  "MMIO Stale Data: Unknown: No mitigations",
  "Yama: disabled by default; enable with sysctl kernel.yama.*",
  "Performance Events: unsupported p# CPU model # no PMU driver, software events only.",
  "NMI watchdog: Perf NMI watchdog permanently disabled",
  "audit: initializing netlink subsys (disabled)",
  "iommu: DMA domain TLB invalidation policy: lazy mode",
  "alg: self-tests disabled",
  "intel_pstate: CPU model not supported",
  "evm: security.SMACK# (disabled)",
  "evm: security.SMACK#EXEC (disabled)",
  "evm: security.SMACK#TRANSMUTE (disabled)",
  "evm: security.SMACK#MMAP (disabled)",
];
const WITH_ACPI = [
  "ACPI: Early table checksum verification disabled",
  'PCI: Using host bridge windows from ACPI; if necessary, use "pci=nocrs" and report a bug',
];
const WITHOUT_ACPI = ["ACPI: Interpreter disabled.", "pnp: PnP ACPI: disabled"];
const WITHOUT_APICS = ["APIC disabled via kernel command line", "smpboot: SMP disabled"];
const AMD64 = ["AMD-Vi: AMD IOMMUv# functionality not available on this system - This is not a bug."];

/** What a boot may print, in the form of {@link suspicious}. */
export const known = ({ kernel, append = "" }: Case): string[] => [
  ...ALWAYS,
  ...(append.includes("acpi=off") ? WITHOUT_ACPI : WITH_ACPI),
  ...(append.includes("nolapic") ? WITHOUT_APICS : []),
  ...(kernel === "amd64" ? AMD64 : []),
];
