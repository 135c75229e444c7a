/**
 * Where one processor's state lies in the shared WebAssembly memory: byte offsets from the processor's base. Generated code (interpreter, later the JIT)
 * and the TypeScript helpers look at the same bytes. All registers are little endian.
 *
 * The area is STATE_SIZE bytes of registers, saved and hashed whole (except the part from CACHE on, which is derived), then the TLBs.
 */

/** General registers, 8 bytes each: RAX RCX RDX RBX RSP RBP RSI RDI R8 … R15. A register number × 8 is its offset. */
export const GPR = 0;
export const REG = {
  rax: 0,
  rcx: 1,
  rdx: 2,
  rbx: 3,
  rsp: 4,
  rbp: 5,
  rsi: 6,
  rdi: 7,
  r8: 8,
  r9: 9,
  r10: 10,
  r11: 11,
  r12: 12,
  r13: 13,
  r14: 14,
  r15: 15,
} as const;

/** Instruction pointer (64 bits). Valid whenever TypeScript runs: at an instruction boundary, or the address of the instruction being executed. */
export const RIP = 0x80;
/** Result of the last flag-setting instruction, sign-extended to 64 bits: gives ZF, SF and PF (see flags.ts). */
export const FLAG_RESULT = 0x88;
/** Bit 31 CF, bit 30 CF^OF, bit 3 AF, bits 15:8 parity correction, bit 0 sign correction. */
export const FLAG_AUX = 0x90;
/** EFLAGS without CF, PF, AF, ZF, SF, OF: TF, IF, DF, IOPL, NT, RF, VM, AC, VIF, VIP, ID. Bit 1 is kept 1. */
export const FLAG_OTHER = 0x94;

/** Segment registers, in encoding order. */
export const SEG = { es: 0, cs: 1, ss: 2, ds: 3, fs: 4, gs: 5, none: 6, ldtr: 8, tr: 9 } as const;
/** Segment bases, 8 bytes each, by SEG number. Entry `none` is always 0. In 64-bit mode ES, CS, SS, DS read as 0 here. */
export const SEG_BASE = 0x100;
/** Selectors, 4 bytes each (16 bits used). */
export const SEG_SELECTOR = 0x160;
/** Access rights, 4 bytes each: descriptor bits 55:40 → bits 15:0 (type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15). UNUSABLE set: null. */
export const SEG_ATTR = 0x190;
/** Limits in bytes, already scaled, unsigned 32 bits, 4 bytes each. */
export const SEG_LIMIT = 0x1c0;
/** Bases of ES, CS, SS, DS as loaded, 4 bytes each: in 64-bit mode SEG_BASE reads 0 for these four and the loaded bases wait here. */
export const SEG_HIDDEN_BASE = 0x1e8;
/** In SEG_ATTR: loaded with a null selector. */
export const ATTR_UNUSABLE = 0x10000;

/** Control registers, 8 bytes each. */
export const CR0 = 0x200;
export const CR2 = 0x208;
export const CR3 = 0x210;
export const CR4 = 0x218;
export const EFER = 0x220;
/** XCR0. */
export const XCR0 = 0x228;
/** Debug registers DR0-DR3, DR6, DR7, 8 bytes each. */
export const DR = 0x230;
export const DR6 = 0x250;
export const DR7 = 0x258;
/** GDTR and IDTR: base 8 bytes, limit 4 bytes. */
export const GDTR_BASE = 0x260;
export const GDTR_LIMIT = 0x268;
export const IDTR_BASE = 0x270;
export const IDTR_LIMIT = 0x278;
/** Current privilege level. */
export const CPL = 0x27c;

/** MSRs that are plain storage, 8 bytes each. */
export const MSR = {
  star: 0x280,
  lstar: 0x288,
  cstar: 0x290,
  sfmask: 0x298,
  kernelGsBase: 0x2a0,
  tscAux: 0x2a8,
  sysenterCs: 0x2b0,
  sysenterEsp: 0x2b8,
  sysenterEip: 0x2c0,
  pat: 0x2c8,
  tscAdjust: 0x2d0,
  tscOffset: 0x2d8,
  mtrrDefType: 0x2e0,
  miscEnable: 0x2e8,
  mtrrFixed: 0x300,
  mtrrVariable: 0x360,
  mcgStatus: 0x3e0,
  debugCtl: 0x3e8,
  featureControl: 0x3f0,
  microcode: 0x3f8,
} as const;

/** XMM0-15, 16 bytes each. */
export const XMM = 0x400;
/** MXCSR, 4 bytes. */
export const MXCSR = 0x500;
/** x87 state, laid out by cpu/fpu/x87.ts from here: at most 0x100 bytes. */
export const X87 = 0x510;

/** What the processor does: one of ACTIVITY (4 bytes). */
export const ACTIVITY_OFFSET = 0x610;
/** Bits of what waits to be taken at an instruction boundary; see PENDING. */
export const PENDING_OFFSET = 0x614;
/** 1 while NMIs are blocked (from delivery until IRET). */
export const NMI_BLOCKED = 0x618;
/** Kind of interrupt shadow that covers the next boundary: 0 none, 1 STI, 2 MOV SS / POP SS. */
export const SHADOW = 0x61c;
/** Instructions retired, 64 bits as a double. */
export const RETIRED = 0x620;
/** Vector of a start-up IPI that arrived. */
export const SIPI_VECTOR = 0x628;
/** #DB conditions gathered by the present instruction, in DR6 format, to be raised as a trap at its end. */
export const DEBUG_TRAP = 0x62c;
/** SMIs counted. */
export const SMI_COUNT = 0x630;
/** Address range armed by MONITOR: 8 bytes, and 4 bytes flag. */
export const MONITOR_ADDRESS = 0x638;
export const MONITOR_ARMED = 0x640;
/** Exceptions in a row of which none let an instruction retire (4 bytes), and the count of retired instructions at the last one (a double). */
export const FAULTS_IN_A_ROW = 0x644;
export const LAST_FAULT_AT = 0x648;

/** The four PAE page-directory-pointer entries that MOV CR3 loaded, 8 bytes each (Intel SDM vol. 3A, 4.4.1). */
export const PDPTE = 0x660;

/** Bits of the word at PENDING_OFFSET. */
export const PENDING = { intr: 1, nmi: 2, init: 4, sipi: 8, smi: 16, debugTrap: 32 } as const;

/** From here on: derived or scratch, neither saved nor hashed; rebuilt by `restored()`. */
export const CACHE = 0x800;
export const SAVED_SIZE = CACHE;

/** A slot that always holds 0: the missing base or index register of an address (offset from base / 8 fits a record's byte). */
export const ZERO = 0xa0;
/** RIP of byte 0 of the page that is being executed: RIP = this + offset in page. Base register of RIP-relative addresses. */
export const RIP_PAGE = 0xa8;
/** Effective address computed by a preceding micro-operation. */
export const EA_TEMP = 0xb0;

/** Instructions left in this run; negative ends it. Checked before every instruction. */
export const COUNT = 0x800;
/** What was taken off COUNT to end the run early. */
export const DEBT = 0x804;
/** Base (absolute, in the memory) of the data TLB bank in use. */
export const DTLB_BASE = 0x808;
/** Base of the code TLB bank in use. */
export const ITLB_BASE = 0x80c;
/** Why generated code came back; see EXIT. */
export const EXIT_REASON = 0x810;
/** The record at which generated code stopped. */
export const RECORD = 0x814;
/** COUNT + DEBT when the instruction that casts a shadow (STI, MOV SS) retired: the shadow covers the boundary at which this still holds. */
export const SHADOW_COUNT = 0x818;
/** 0: 16-bit code, 1: 32-bit code, 2: 64-bit code. */
export const CODE_MODE = 0x81c;
/** Why vector instructions must not run now: bit 0 SSE, bit 1 MMX (CR0.EM, CR0.TS, CR4.OSFXSR). Derived from the control registers. */
export const FP_TRAP = 0x828;
/** Operand of a slow memory access: the address (64 bits: an offset in the segment; in 64-bit mode the linear address). */
export const SLOW_ADDRESS = 0x820;
/** Data of a slow access: up to 64 bytes. */
export const SLOW_DATA = 0x840;
/** Highest byte offset (inclusive, 64 bits) at which a fast read / write of each segment may end; −1: always take the slow path. Legacy modes only. */
export const SEG_READ_TOP = 0x880;
export const SEG_WRITE_TOP = 0x8b8;
/** Mask of the stack pointer in legacy modes: 0xFFFF or 0xFFFFFFFF (64 bits). */
export const STACK_MASK = 0x8f0;
/** Operands handed to a TypeScript helper (two 64-bit values) and its result. */
export const ARG0 = 0x900;
export const ARG1 = 0x908;
export const ARG2 = 0x910;
/** 1 when the processor's vendor is AMD. */
export const MODEL_AMD = 0x92c;
/** Not 0: generated code itself found that the page at SLOW_ADDRESS is not present; the error code of that #PF, plus PAGE_FAULT_FOUND. */
export const PAGE_FAULT = 0x928;
export const PAGE_FAULT_FOUND = 0x100;
/** Physical addresses from 1 MiB up to WALK_LIMIT (8 bytes) are RAM at the same offset: generated code may walk page tables there; 0: nowhere. */
export const WALK_LIMIT = 0x930;
/** Byte offset of RAM in the memory. */
export const WALK_RAM = 0x938;
/** Address of the map of pages with decoded code, one byte per page of RAM. */
export const WALK_CODE_PAGES = 0x93c;
/** Bytes that helpers' own memory accesses gather: 8. */
export const SYSTEM_DATA = 0x920;
/** 0x980-0x9ff: scratch for generated code. */
export const SCRATCH = 0x980;

/** Size of the register area. */
export const STATE_SIZE = 0x1000;

/** Data TLB: per bank DTLB_ENTRIES × 32 bytes: tag for reads (8), tag for writes (8), addend (4), then for the slow path flags (4), physical page (4), linear page low (4). */
export const DTLB_ENTRIES = 512;
export const DTLB_ENTRY = 32;
export const DTLB = { tagRead: 0, tagWrite: 8, addend: 16, flags: 20, physical: 24, page: 28 } as const;
/** Code TLB: per bank ITLB_ENTRIES × 16 bytes: tag (8), address of the page's code table (4), unused (4). */
export const ITLB_ENTRIES = 256;
export const ITLB_ENTRY = 16;
/**
 * Banks: supervisor, supervisor with SMAP in force, user. The data bank `strict` is never filled: with alignment checking on, every access takes the
 * slow path.
 */
export const BANK = { supervisor: 0, supervisorSmap: 1, user: 2, strict: 3 } as const;
export const BANKS = 4;
/** A tag that no page address equals. */
export const NO_TAG = 1;
/** Or-ed to a page address: the page is a device's and may be accessed, through a call. */
export const DEVICE_TAG = 2;

export const DTLB_OFFSET = STATE_SIZE;
export const ITLB_OFFSET = DTLB_OFFSET + BANKS * DTLB_ENTRIES * DTLB_ENTRY;
/** What was filled since the last flush of the TLBs: see system/tlb.ts. */
export const TLB_LOG_OFFSET = ITLB_OFFSET + BANKS * ITLB_ENTRIES * ITLB_ENTRY;
export const TLB_LOG_SIZE = 128;
export const TLB_LOG = {
  dataCount: 0,
  codeCount: 4,
  largeUsed: 8,
  hugeUsed: 12,
  data: 16,
  code: 528,
  largeMap: 2048,
} as const;
/** One byte per 2 MiB of linear space, modulo this. */
export const LARGE_MAP_SIZE = 4096;
/** Bytes per processor. */
export const CPU_SIZE = TLB_LOG_OFFSET + TLB_LOG.largeMap + LARGE_MAP_SIZE;

/** Why generated code returned to TypeScript. */
export const EXIT = {
  /** COUNT ran out, or was cut short. RECORD is the next instruction, not executed. */
  budget: 0,
  /** RIP holds the next instruction; it has to be found or decoded. The instruction before it has retired. */
  lookup: 1,
  /** The instruction at RECORD did not retire: an exception is in the processor's fault fields. */
  fault: 2,
  /** A helper finished the instruction at RECORD, wrote RIP and asks for a new look at everything. The instruction has retired. */
  changed: 3,
} as const;

/**
 * A decoded instruction: RECORD_SIZE bytes in the shared memory.
 */
export const RECORD_SIZE = 32;
export const REC = {
  /** u16: index of its handler in the function table. */
  handler: 0,
  /** u16: offset of the instruction in its page. */
  offset: 2,
  /** u8: byte offset of the first register operand (ModRM.reg, or the opcode's register). AH…BH are offset + 1. */
  r1: 4,
  /** u8: byte offset of the second register operand (ModRM.rm when it is a register), or of the base register of a memory operand. */
  r2: 5,
  /** u8: byte offset of the index register (ZERO when there is none). */
  index: 6,
  /** u8: shift of the index, 0-3. */
  scale: 7,
  /** u8: SEG number × 8 of the memory operand. */
  seg: 8,
  /** u8: length of the instruction in bytes. */
  length: 9,
  /** u8: third small operand: condition code, VEX.vvvv register offset, ModRM.reg number … */
  aux: 10,
  /** u8: prefixes and sizes; see PFX. */
  prefix: 11,
  /** i32: displacement (sign-extended when used). */
  disp: 12,
  /** i64: immediate. */
  imm: 16,
  /** i32: address of the record of a direct branch's target in the same page, 0 while unknown. For helpers: opcode bytes (map << 16 | opcode << 8 | ModRM). */
  target: 24,
  /** u32: mask of the effective address in legacy modes. */
  mask: 28,
} as const;

/** Bits of REC.prefix. */
export const PFX = {
  lock: 1,
  repe: 2,
  repne: 4,
  opSize16: 8,
  opSize64: 16,
  addrSize16: 32,
  addrSize64: 64,
  memory: 128,
} as const;

/** XMM register n as a byte offset does not fit REC.r1/r2 (one byte), so SSE records hold n × 16 there and handlers add XMM. */
export const XMM_SCALE = 16;
