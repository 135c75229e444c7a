/** What the DMA code refuses, with the names and numbers of POSIX (errno.h) that the founding document returns as negative integers. */

export const ERRNO = { EIO: 5, ENOMEM: 12, EBUSY: 16, EINVAL: 22 } as const;
export type DmaErrorCode = keyof typeof ERRNO;

/** Thrown by calls. A transfer that fails later is told to its callback, as the number. */
export class DmaError extends Error {
  override name = "DmaError";
  readonly code: DmaErrorCode;

  constructor(code: DmaErrorCode, why: string) {
    super(`${code}: ${why}`);
    this.code = code;
  }

  /** As the document returns it: negative. */
  get errno(): number {
    return -ERRNO[this.code];
  }
}

/** Throws EINVAL unless `condition` holds. */
export function demand(condition: boolean, why: string): asserts condition {
  if (!condition) throw new DmaError("EINVAL", why);
}
