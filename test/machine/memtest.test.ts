/**
 * Debian's Memtest86+ (6.10), a bzImage with a 64-bit entry: it brings up four CPUs by the ACPI tables and tests 16 MiB with all of them. Needs what
 * `npm run guests` fetches, and is left out without it.
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Pc } from "../../src/machine/pc.ts";

const IMAGE = fileURLToPath(new URL("../../.cache/linux/memtest.bin", import.meta.url));
/** No pause, no benchmark, no SMBus. */
const ARGUMENTS = "nopause nobench nosm keyboard=legacy";
/** Tests 0 to 4 take 810 million instructions. */
const LIMIT = 1.5e9;
const LOOK = 10e6;
const LAST_TEST = 5;
const TEST_MS = 300_000;

/** The board has no display card; what Memtest86+ writes to its text memory (80 × 25 characters with attributes) is looked at here. */
class Screen {
  readonly name = "text memory";
  readonly size = 0x8000;
  readonly minWidth = 1;
  readonly maxWidth = 1;
  readonly #bytes = new Uint8Array(this.size);

  read(offset: number): number {
    return this.#bytes[offset]!;
  }
  write(offset: number, _width: number, value: number): void {
    this.#bytes[offset] = value;
  }
  get text(): string {
    const rows = Array.from({ length: 25 }, (_, row) => this.#bytes.subarray(row * 160, row * 160 + 160));
    return rows.map(row => String.fromCharCode(...row.filter((_, i) => i % 2 === 0))).join("\n");
  }
}

/** Runs until the test after the last one begins; looks at the screen in between. */
function run() {
  const image = { name: "memtest.bin", bytes: new Uint8Array(readFileSync(IMAGE)), args: ARGUMENTS };
  const pc = new Pc({ cpus: 4, memory: 16 << 20, image });
  const screen = new Screen();
  pc.space.mapWindow(screen, 0xb8000);
  const seen = new Set<number>();
  while (!seen.has(LAST_TEST) && pc.retired < LIMIT) {
    const next = pc.retired + LOOK;
    while (pc.retired < next && pc.run(next) === null);
    const number = /Test +#(\d+)/.exec(screen.text)?.[1];
    if (number !== undefined) seen.add(Number(number));
  }
  return {
    screen: screen.text,
    seen,
    hash: pc.stateHash(),
    retired: pc.retired,
    started: pc.cpus.map(cpu => cpu.retired),
  };
}

test.runIf(existsSync(IMAGE))(
  "four CPUs, all of them at work, test 16 MiB without an error, and the same again",
  () => {
    const first = run();
    expect([...first.seen].at(-1)).toBe(LAST_TEST);
    expect(first.screen).toMatch(/CPU: 4 Cores 4 Threads +SMP: 4T \(PAR\)/);
    expect(first.screen).toMatch(/Memory *: *16MB/);
    expect(first.screen).toMatch(/Errors: 0 /);
    const again = run();
    expect([again.retired, again.hash]).toEqual([first.retired, first.hash]);
  },
  TEST_MS,
);
