/**
 * What numbers in events are called on this machine: lines and pins by the board's map, addresses and ports by what is mapped there, MSRs by their names
 * in Intel SDM vol. 4 (table 2-2) and AMD APM vol. 2 (appendix A).
 */
import { PAGE } from "../base/units.ts";
import { bdfText, type EventNames } from "../export/names.ts";
import { lapicRegisterName, MSR_X2APIC } from "../intc/lapic.regs.ts";
import { nameOfIrq, nameOfPin } from "../machine/irq-map.ts";
import type { Pc } from "../machine/pc.ts";

const X2APIC_MSRS = 0x100;

const MSR_NAMES: { readonly [index: number]: string } = {
  16: "IA32_TIME_STAMP_COUNTER",
  23: "IA32_PLATFORM_ID",
  27: "IA32_APIC_BASE",
  52: "MSR_SMI_COUNT",
  58: "IA32_FEATURE_CONTROL",
  59: "IA32_TSC_ADJUST",
  121: "IA32_BIOS_UPDT_TRIG",
  139: "IA32_BIOS_SIGN_ID",
  206: "MSR_PLATFORM_INFO",
  254: "IA32_MTRRCAP",
  372: "IA32_SYSENTER_CS",
  373: "IA32_SYSENTER_ESP",
  374: "IA32_SYSENTER_EIP",
  377: "IA32_MCG_CAP",
  378: "IA32_MCG_STATUS",
  408: "IA32_PERF_STATUS",
  416: "IA32_MISC_ENABLE",
  473: "IA32_DEBUGCTL",
  631: "IA32_PAT",
  767: "IA32_MTRR_DEF_TYPE",
  1760: "IA32_TSC_DEADLINE",
  3221225600: "IA32_EFER",
  3221225601: "IA32_STAR",
  3221225602: "IA32_LSTAR",
  3221225603: "IA32_CSTAR",
  3221225604: "IA32_FMASK",
  3221225728: "IA32_FS_BASE",
  3221225729: "IA32_GS_BASE",
  3221225730: "IA32_KERNEL_GS_BASE",
  3221225731: "IA32_TSC_AUX",
  3221291024: "SYSCFG",
  3221291029: "HWCR",
};

/** Name of an MSR, empty when it has none that we know. */
export function msrName(index: number): string {
  const reg = index - MSR_X2APIC;
  if (reg >= 0 && reg < X2APIC_MSRS) return `lapic.${lapicRegisterName(reg * 16)}`;
  return MSR_NAMES[index] ?? "";
}

export function eventNames(pc: Pc): EventNames {
  /** Every CPU sees its own local APIC in front of everything else. */
  const lapicAt = (page: number): boolean => pc.lapics.some(lapic => lapic.mmioPage === page);
  return {
    line: index => pc.lines.find(line => line.index === index)?.name ?? `line ${index}`,
    pin: nameOfPin,
    irq: nameOfIrq,
    address: address =>
      lapicAt(Math.floor(address / PAGE)) ? `lapic.${lapicRegisterName(address % PAGE)}` : pc.space.describe(address),
    port: port => pc.ports.describe(port),
    device: requester => {
      const fn = pc.pci.root.find(requester >>> 8, requester & 255);
      return fn === null ? `device ${bdfText(requester)}` : `${fn.name} (${bdfText(requester)})`;
    },
    msr: msrName,
  };
}
