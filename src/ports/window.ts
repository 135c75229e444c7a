/**
 * A window: a range of memory-mapped or port addresses that a part answers. A window does not know where it lies. Which widths it accepts is declared
 * here and enforced in one place (memory/), so that a part's read and write see only natural, aligned accesses.
 */

/** Widths in bytes that a part takes in one access. */
export type WindowWidth = 1 | 2 | 4;

export interface Window {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Narrower reads are widened and cut; narrower writes follow `narrowWrites`. */
  readonly minWidth: WindowWidth;
  /** Wider accesses are split, lowest address first. */
  readonly maxWidth: WindowWidth;
  /** What a write narrower than minWidth does: read, merge and write back, or nothing. */
  readonly narrowWrites?: "merge" | "drop";
  /** Unsigned value of `width` bytes at `offset` (aligned, little endian). */
  read(offset: number, width: number): number;
  write(offset: number, width: number, value: number): void;
  /** Name of the register at `offset`, for logs. */
  describe?(offset: number): string;
}
