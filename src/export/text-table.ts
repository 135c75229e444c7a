/**
 * Tables for people, and numbers as they stand in them.
 */

/** A span of virtual time with three digits: `417 ns`, `1.25 us`, `30.1 ms`. */
export function timeText(ns: number): string {
  for (const [unit, size] of [
    ["s", 1e9],
    ["ms", 1e6],
    ["us", 1e3],
  ] as const) {
    if (ns >= size) return `${(ns / size).toPrecision(3)} ${unit}`;
  }
  return `${ns} ns`;
}

/** `512`, `4.00 KiB`, `1.50 MiB`; below 1 KiB to the byte. */
export function bytesText(bytes: number): string {
  for (const [unit, size] of [
    ["GiB", 2 ** 30],
    ["MiB", 2 ** 20],
    ["KiB", 2 ** 10],
  ] as const) {
    if (bytes >= size) return `${(bytes / size).toFixed(2)} ${unit}`;
  }
  return String(bytes);
}

/** Lines with columns as wide as their widest cell. @param left columns that hold words */
export function table(rows: readonly (readonly string[])[], left: ReadonlySet<number>): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(cells => cells[column]!.length)));
  return rows.map(cells =>
    cells
      .map((cell, i) => (left.has(i) ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join("  ")
      .trimEnd(),
  );
}
