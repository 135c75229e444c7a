/**
 * How encodings are written down: a row per encoding, and nodes that choose between rows by ModRM, mandatory prefix or mode (Intel SDM vol. 2, appendix A).
 */

/** Where the operands of a row are. */
export type Operands =
  /** No ModRM byte and no register operand. */
  | "none"
  /** ModRM: r1 = reg field, r2 or memory = rm field. */
  | "modrm"
  /** Low three opcode bits name the register operand (r2). */
  | "opreg"
  /** The accumulator is the operand (r2). */
  | "acc";

/** Operand size: fixed; v: 16/32/64 by prefixes; z64: like v, but 64 by default in 64-bit mode and never 32; y: 32 or 64; q: 64 in 64-bit mode, else 32. */
export type SizeRule = 8 | 16 | 32 | 64 | 128 | "v" | "z64" | "y" | "q" | "f64" | "addr";

/** Immediate: ib: 8 bits sign-extended; iz: 16 or 32 bits by operand size, sign-extended; iv: as wide as the operand; rel8, relz: branch distance; … */
export type ImmRule = "" | "ib" | "iw" | "iz" | "iv" | "rel8" | "relz" | "far" | "moffs" | "iw_ib" | "one";

export type RegClass = "gpr" | "xmm" | "mmx" | "raw";

export type Row = {
  readonly kind: "row";
  /** Name in the instruction set. */
  readonly name: string;
  readonly operands: Operands;
  readonly size: SizeRule;
  readonly imm: ImmRule;
  /** LOCK may be used with a memory operand. */
  readonly lock: boolean;
  /** #UD in 64-bit mode. */
  readonly no64: boolean;
  /** Register file of ModRM.reg / ModRM.rm; raw: the bare number goes to `aux` (segment, control and debug registers, groups). */
  readonly reg: RegClass;
  readonly rm: RegClass;
  /** Size of a register rm operand or reg operand where it differs from `size` (MOVZX from 8 bits: high-byte rules). */
  readonly rm8: boolean;
  readonly reg8: boolean;
  /** Memory operand has an address but the row has no memory form that is wanted (LEA r, r: #UD). */
  readonly only?: "mem" | "reg";
  /** ModRM always names registers: its mod field is ignored (MOV with control and debug registers). */
  readonly modIgnored?: boolean;
  /** Small constant for the handler (port width, segment number). */
  readonly aux?: number;
  /** CPUID feature without which the encoding is #UD. */
  readonly feature?: string;
  /** Ends a block of straight-line code: control never goes to the next instruction by itself, or translation may change. */
  readonly ends: boolean;
  /** Vector instruction: checks CR0.EM/TS and CR4.OSFXSR before it runs. */
  readonly fp?: "sse" | "mmx";
};

export type Node =
  | Row
  | { readonly kind: "group"; readonly by: readonly (Node | null)[] }
  | { readonly kind: "mod"; readonly memory: Node | null; readonly register: Node | null }
  | { readonly kind: "rm"; readonly by: readonly (Node | null)[]; readonly otherwise: Node | null }
  | {
      readonly kind: "prefix";
      readonly none: Node | null;
      readonly p66: Node | null;
      readonly pf3: Node | null;
      readonly pf2: Node | null;
    }
  | { readonly kind: "mode"; readonly long: Node | null; readonly legacy: Node | null };

type Options = Partial<Omit<Row, "kind" | "name">>;

/** A row; see {@link Row} for the defaults: ModRM, size v, general registers. */
export const row = (name: string, options: Options = {}): Row => ({
  kind: "row",
  name,
  operands: "modrm",
  size: "v",
  imm: "",
  lock: false,
  no64: false,
  reg: "gpr",
  rm: "gpr",
  rm8: options.size === 8,
  reg8: options.size === 8,
  ends: false,
  ...options,
});
/** By ModRM.reg. */
export const group = (...by: (Node | null)[]): Node => ({ kind: "group", by });
export const byMod = (memory: Node | null, register: Node | null): Node => ({ kind: "mod", memory, register });
/** By ModRM.rm, for register forms that encode instructions. */
export const byRm = (by: (Node | null)[], otherwise: Node | null = null): Node => ({ kind: "rm", by, otherwise });
/** By mandatory prefix. F3 and F2 win over 66. */
export const byPrefix = (
  none: Node | null,
  p66: Node | null = null,
  pf3: Node | null = null,
  pf2: Node | null = null,
): Node => ({
  kind: "prefix",
  none,
  p66,
  pf3,
  pf2,
});
export const byMode = (long: Node | null, legacy: Node | null): Node => ({ kind: "mode", long, legacy });

/** 256 encodings; holes are #UD. */
export type OpcodeMap = (Node | null)[];
export const emptyMap = (): OpcodeMap => new Array<Node | null>(256).fill(null);
