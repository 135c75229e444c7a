/**
 * State of a part: one plain record, saved whole, never by a hand-kept list. Restoring writes into the same objects, so that a part may keep
 * references to nested records and typed arrays. Values allowed: numbers, booleans, strings, typed arrays, plain arrays and records of these.
 */
import { HostError, ModelBug } from "../base/assert.ts";
import { Hasher } from "../base/hash.ts";

export type TypedArray = Uint8Array | Uint16Array | Uint32Array | Int32Array | Float64Array;
export type StateValue = number | boolean | string | null | TypedArray | StateValue[] | { [key: string]: StateValue };
/** A part's whole mutable state. Declare it as a `type`, not an `interface`, so that it is assignable here. */
export type StateRecord = { [key: string]: StateValue };

const isTyped = (value: StateValue): value is TypedArray => ArrayBuffer.isView(value);

/** Deep copy. */
export function saveState<T extends StateValue>(value: T): T {
  if (value === null || typeof value !== "object") return value;
  if (isTyped(value)) return value.slice() as T;
  if (Array.isArray(value)) return value.map(saveState) as T;
  const copy: StateRecord = {};
  for (const key of Object.keys(value)) copy[key] = saveState((value as StateRecord)[key]!);
  return copy as T;
}

/** Writes `saved` into `target`, in place. Throws {@link HostError} when the shapes differ (a snapshot of another version). */
export function loadState(target: StateRecord, saved: StateRecord, where = "state"): void {
  for (const key of Object.keys(target)) {
    if (!(key in saved)) throw new HostError(`snapshot does not fit: ${where}.${key} is missing`, 66);
  }
  for (const key of Object.keys(saved)) {
    if (!(key in target)) throw new HostError(`snapshot does not fit: ${where}.${key} is unknown`, 66);
    target[key] = loadValue(target[key]!, saved[key]!, `${where}.${key}`);
  }
}

/** The kind of a value: its type, of typed arrays with their length. */
function shapeOf(value: StateValue): string {
  if (typeof value !== "object" || value === null) return typeof value;
  if (isTyped(value)) return `${value[Symbol.toStringTag]} ${value.length}`;
  return Array.isArray(value) ? "list" : "record";
}

function loadValue(target: StateValue, saved: StateValue, where: string): StateValue {
  if (target === null || saved === null) return saveState(saved);
  if (shapeOf(target) !== shapeOf(saved))
    throw new HostError(`snapshot does not fit: ${where} is ${shapeOf(saved)} instead of ${shapeOf(target)}`, 66);
  if (typeof target !== "object") return saved;
  if (isTyped(target)) {
    target.set(saved as never);
    return target;
  }
  if (Array.isArray(target) && Array.isArray(saved)) {
    target.length = saved.length;
    for (let i = 0; i < saved.length; i++) target[i] = loadValue(target[i] ?? null, saved[i]!, `${where}[${i}]`);
    return target;
  }
  loadState(target as StateRecord, saved as StateRecord, where);
  return target;
}

/** Adds `value` to a hash, independent of the order in which keys were created. */
export function hashInto(hasher: Hasher, value: StateValue): void {
  if (value === null) hasher.word(0);
  else if (typeof value === "number") hasher.number(value);
  else if (typeof value === "boolean") hasher.word(value ? 1 : 2);
  else if (typeof value === "string") hasher.string(value);
  else if (isTyped(value)) hasher.bytes(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  else if (Array.isArray(value)) {
    hasher.word(value.length);
    for (const item of value) hashInto(hasher, item);
  } else if (typeof value === "object") {
    for (const key of Object.keys(value).sort()) {
      hasher.string(key);
      hashInto(hasher, value[key]!);
    }
  } else throw new ModelBug(`state holds a ${typeof value}`);
}

/** Hash of one record, 32 hexadecimal digits. */
export function hashState(value: StateValue): string {
  const hasher = new Hasher();
  hashInto(hasher, value);
  return hasher.digest();
}
