/**
 * Named bit fields of a register, as data. A layout is declared once, with its citation, in an `x.regs.ts`; the model, a driver,
 * a checker, an exporter and a page of documentation read the same table. Overlapping fields are refused when the module loads.
 *
 * Registers wider than 32 bits are held as 32-bit words (word 0 is the least significant); a field lies inside one word.
 */
import { assert } from "./assert.ts";
import { hex } from "./int.ts";

/** One named field of a register. */
export class Field {
  readonly name: string;
  /** Which 32-bit word of the register it lies in. */
  readonly word: number;
  readonly shift: number;
  /** Mask after shifting down. */
  readonly max: number;
  /** Mask in place, unsigned. */
  readonly mask: number;

  constructor(name: string, high: number, low: number) {
    assert(high >= low && low >= 0, `field ${name}: bits [${high}:${low}] are reversed`);
    assert(high >>> 5 === low >>> 5, `field ${name}: bits [${high}:${low}] straddle a 32-bit word`);
    const bits = high - low + 1;
    this.name = name;
    this.word = low >>> 5;
    this.shift = low & 31;
    this.max = 2 ** bits - 1;
    this.mask = (this.max << this.shift) >>> 0;
  }

  /** Value of this field in its 32-bit word. */
  of(word: number): number {
    return ((word >>> this.shift) & this.max) >>> 0;
  }

  /** True when any bit of this field is set in its word. */
  on(word: number): boolean {
    return (word & this.mask) !== 0;
  }

  /** `word` with this field replaced by `value`. */
  put(word: number, value: number): number {
    assert(value >= 0 && value <= this.max, `field ${this.name}: ${value} does not fit`);
    return ((word & ~this.mask) | (value << this.shift)) >>> 0;
  }
}

/** `[high, low]` bit numbers, or one bit number. */
export type FieldSpec = readonly [number, number] | number;
export type Layout<K extends string> = { readonly [name in K]: Field } & { readonly $: LayoutInfo };

/** What a layout knows about itself. */
export class LayoutInfo {
  readonly name: string;
  readonly width: number;
  readonly fields: readonly Field[];
  constructor(name: string, width: number, fields: readonly Field[]) {
    this.name = name;
    this.width = width;
    this.fields = fields;
  }
  /** `name=value` of all fields that are not zero, for logs and the user's eyes. */
  describe(...words: number[]): string {
    const parts: string[] = [];
    for (const field of this.fields) {
      const value = field.of(words[field.word] ?? 0);
      if (value !== 0) parts.push(field.max === 1 ? field.name : `${field.name}=${hex(value)}`);
    }
    return parts.join(" ");
  }
}

/** Declares a register of `width` bits (a multiple of 8) with named fields. Throws when fields overlap or lie outside. */
export function layout<K extends string>(
  name: string,
  width: number,
  spec: { readonly [k in K]: FieldSpec },
): Layout<K> {
  const used: number[] = [0, 0, 0, 0];
  const fields: Field[] = [];
  const result: Record<string, Field | LayoutInfo> = {};
  for (const [fieldName, bits] of Object.entries(spec) as [K, FieldSpec][]) {
    const [high, low] = typeof bits === "number" ? [bits, bits] : bits;
    assert(high < width, `layout ${name}: field ${fieldName} lies outside ${width} bits`);
    const field = new Field(fieldName, high, low);
    assert((used[field.word]! & field.mask) === 0, `layout ${name}: field ${fieldName} overlaps another`);
    used[field.word]! |= field.mask;
    fields.push(field);
    result[fieldName] = field;
  }
  result.$ = new LayoutInfo(name, width, fields);
  return result as Layout<K>;
}
