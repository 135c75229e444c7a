/**
 * Assertions that stay on. A failed one is *our* mistake (a model bug), never the guest's and never the user's:
 * it stops the run and says where. See ARCHITECTURE.md, "Three kinds of wrong".
 */

/** The model contradicts itself. Carries the place in its message. */
export class ModelBug extends Error {
  override name = "ModelBug";
}

/** The host or the user did something wrong; `message` is one line that says what to do about it. */
export class HostError extends Error {
  override name = "HostError";
  /** Exit status of the command line: 64 bad usage, 66 unusable image, 74 host I/O failed. */
  readonly status: number;
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/** Throws {@link ModelBug} unless `condition` holds. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new ModelBug(message);
}

/** Marks a branch that the types exclude. */
export function unreachable(value: never, message = "unreachable"): never {
  throw new ModelBug(`${message}: ${String(value)}`);
}

/** Unwraps a value that must be there. */
export function exists<T>(value: T | undefined | null, message: string): T {
  if (value === undefined || value === null) throw new ModelBug(message);
  return value;
}
