/**
 * A histogram of whole numbers below 2^40 with at most 1/16 relative error: 16 linear steps in every power of two. Nothing is allocated after creation.
 */

const SUB_BITS = 4;
const SUB = 1 << SUB_BITS;
const MAX_EXPONENT = 40;
const BUCKETS = (MAX_EXPONENT - SUB_BITS + 1) * SUB;

/** Bucket of a value: exact below 16. */
function bucketOf(value: number): number {
  if (value < SUB) return value;
  let exponent: number;
  let steps: number;
  if (value < 0x80000000) {
    exponent = 31 - Math.clz32(value);
    steps = (value >>> (exponent - SUB_BITS)) & (SUB - 1);
  } else {
    const high = Math.floor(value / 0x80000000);
    exponent = Math.min(62 - Math.clz32(high), MAX_EXPONENT - 1);
    steps = Math.min(SUB * 2 - 1, Math.floor(value / 2 ** (exponent - SUB_BITS))) & (SUB - 1);
  }
  return (exponent - SUB_BITS + 1) * SUB + steps;
}

/** Least value of a bucket. */
function lowestOf(bucket: number): number {
  if (bucket < SUB) return bucket;
  const exponent = Math.floor(bucket / SUB) + SUB_BITS - 1;
  return (SUB + (bucket % SUB)) * 2 ** (exponent - SUB_BITS);
}

export class Histogram {
  /** Least and greatest value; in an array, since a field that holds a float would be a new object with every change. */
  readonly #ends = new Float64Array([Number.POSITIVE_INFINITY, 0]);
  readonly #buckets = new Uint32Array(BUCKETS);
  count = 0;

  get min(): number {
    return this.#ends[0]!;
  }

  get max(): number {
    return this.#ends[1]!;
  }

  /** Adds a value ≥ 0. */
  add(value: number): void {
    this.count++;
    const ends = this.#ends;
    if (value < ends[0]!) ends[0] = value;
    if (value > ends[1]!) ends[1] = value;
    this.#buckets[bucketOf(value)]!++;
  }

  /** A value such that at least `share` (0 … 1) of all are not above it, to within its bucket; 0 when empty. */
  quantile(share: number): number {
    if (this.count === 0) return 0;
    const rank = Math.max(1, Math.ceil(share * this.count));
    // The extremes are known exactly.
    if (rank >= this.count) return this.max;
    if (rank === 1) return this.min;
    let seen = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      seen += this.#buckets[bucket]!;
      if (seen >= rank) return Math.min(this.max, Math.max(this.min, lowestOf(bucket)));
    }
    return this.max;
  }
}
