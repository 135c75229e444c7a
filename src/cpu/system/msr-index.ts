/** Indices and bits of the MSRs that this processor has. Intel SDM vol. 4, table 2-2; AMD64 APM vol. 2, appendix A. */

export const MSR_INDEX = {
  tsc: 0x10,
  platformId: 0x17,
  apicBase: 0x1b,
  smiCount: 0x34,
  featureControl: 0x3a,
  tscAdjust: 0x3b,
  biosSignId: 0x8b,
  platformInfo: 0xce,
  mtrrCap: 0xfe,
  sysenterCs: 0x174,
  sysenterEsp: 0x175,
  sysenterEip: 0x176,
  mcgCap: 0x179,
  mcgStatus: 0x17a,
  perfStatus: 0x198,
  miscEnable: 0x1a0,
  debugCtl: 0x1d9,
  tscDeadline: 0x6e0,
  x2apicFirst: 0x800,
  x2apicLast: 0x8ff,
  efer: 0xc0000080,
  star: 0xc0000081,
  lstar: 0xc0000082,
  cstar: 0xc0000083,
  sfmask: 0xc0000084,
  fsBase: 0xc0000100,
  gsBase: 0xc0000101,
  kernelGsBase: 0xc0000102,
  tscAux: 0xc0000103,
  amdSyscfg: 0xc0010010,
  amdHwcr: 0xc0010015,
} as const;

/** IA32_MISC_ENABLE. Words: [low, high]. */
export const MISC_ENABLE = {
  fastStrings: 1,
  thermalControl: 1 << 3,
  /** Read-only: branch trace storage and PEBS are not available. */
  btsUnavailable: 1 << 11,
  pebsUnavailable: 1 << 12,
  speedStep: 1 << 16,
  monitor: 1 << 18,
  limitCpuid: 1 << 22,
  xtprDisable: 1 << 23,
  /** Bit 34, in the high word. */
  xdDisableHigh: 1 << 2,
} as const;
/** What IA32_MISC_ENABLE holds after power-on: fast strings, MONITOR, no BTS, no PEBS. */
export const MISC_ENABLE_RESET =
  MISC_ENABLE.fastStrings | MISC_ENABLE.btsUnavailable | MISC_ENABLE.pebsUnavailable | MISC_ENABLE.monitor;

/** Ratio of the 1 GHz core clock to the 100 MHz reference clock, in PLATFORM_INFO[15:8] and PERF_STATUS[15:8]. */
export const CORE_RATIO = 10;
/** IA32_FEATURE_CONTROL lock bit. */
export const FEATURE_CONTROL_LOCK = 1;
/** HWCR.TscFreqSel: the TSC counts at the P0 frequency. */
export const HWCR_TSC_FREQ_SEL = 1 << 24;
/** IA32_PAT after power-on (SDM vol. 3A, table 11-12): WB, WT, UC−, UC, twice. One word of the two. */
export const PAT_RESET_WORD = 0x00070406;
/** Microcode revision told to the guest: Intel in the high word of BIOS_SIGN_ID, AMD's patch level in the low word. */
export const MICROCODE = { intel: 0x1d, amd: 0x0800126e } as const;
