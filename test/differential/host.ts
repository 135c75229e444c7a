/** Compiles harness.c and runs cases on the host's processor. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Bits, IN, OUT } from "./records.ts";

export class Host {
  readonly #directory: string;
  readonly #program: string;

  private constructor(directory: string, program: string) {
    this.#directory = directory;
    this.#program = program;
  }

  /** Null, with the reason, when this machine cannot: no Linux on x86-64, no gcc, no libraries for 32-bit code, no fixed addresses. */
  static create(bits: Bits): { host: Host | null; why: string } {
    if (process.platform !== "linux" || process.arch !== "x64") return { host: null, why: "needs Linux on x86-64" };
    const width = bits === 64 ? 64 : 32;
    const directory = mkdtempSync(join(tmpdir(), "iretq-differential-"));
    const program = join(directory, `harness${bits}`);
    const source = fileURLToPath(new URL("harness.c", import.meta.url));
    const options = ["-O1", "-static", "-no-pie", "-Wl,-Ttext-segment=0x50000000"];
    try {
      execFileSync("gcc", [`-m${width}`, ...options, source, "-o", program], { stdio: "pipe" });
      execFileSync(program, { input: "", stdio: "pipe" });
    } catch {
      rmSync(directory, { recursive: true, force: true });
      return { host: null, why: `gcc -m${width} -static is missing, or its program does not run here` };
    }
    return { host: new Host(directory, program), why: "" };
  }

  /** Results of the cases in `input`. */
  run(input: Uint8Array): Buffer {
    const count = input.length / IN.size;
    const { stdout, stderr, status, signal } = spawnSync(this.#program, { input, maxBuffer: count * OUT.size + 4096 });
    if (status !== 0 || stdout.length !== count * OUT.size)
      throw new Error(`harness: ${signal ?? `exit status ${status}`}, ${stdout.length} bytes ${stderr.toString()}`);
    return stdout;
  }

  dispose(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
