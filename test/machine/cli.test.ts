/**
 * The command as users meet it: statuses, one line for every mistake, report and trace files.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { beforeAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "iretq-"));
/** Built here and not in dist/, so that the test sees the present sources. */
const command = join(root, ".cache/iretq.mjs");
const guest = (name: string): string => join(root, "guests", name);

beforeAll(async () => {
  await build({
    entryPoints: [join(root, "src/cli/main.ts")],
    outfile: command,
    bundle: true,
    platform: "node",
    format: "esm",
    external: ["iced-x86"],
    banner: { js: 'import { createRequire } from "node:module";\nconst require = createRequire(import.meta.url);' },
  });
});

function iretq(...args: string[]) {
  const { status, stdout, stderr } = spawnSync("node", [command, ...args], { encoding: "utf8", maxBuffer: 1 << 28 });
  return { status, stdout, stderr };
}
const file = (name: string, bytes: Uint8Array | string): string => {
  writeFileSync(join(folder, name), bytes);
  return join(folder, name);
};

describe("mistakes get one line and a status, never a stack trace", () => {
  const elf = readFileSync(guest("demo.elf"));
  test.each([
    ["no command", [], 64],
    ["an unknown command", ["fly"], 64],
    ["an unknown option", ["run", guest("demo.elf"), "--warp"], 64],
    ["no image", ["run"], 64],
    ["a bad number of CPUs", ["run", guest("demo.elf"), "--cpus", "many"], 64],
    ["too many CPUs", ["run", guest("demo.elf"), "--cpus", "65"], 64],
    ["a bad size", ["run", guest("demo.elf"), "--memory", "lots"], 64],
    ["more memory than possible", ["run", guest("demo.elf"), "--memory", "100G"], 64],
    ["a bad time", ["run", guest("demo.elf"), "--max-time", "soon"], 64],
    ["an unknown CPU feature", ["run", guest("demo.elf"), "--cpu-feature", "+magic"], 64],
    ["an unknown vendor", ["run", guest("demo.elf"), "--cpu-vendor", "Acme"], 64],
    ["an unknown log group", ["run", guest("demo.elf"), "--log", "gossip"], 64],
    ["an image that is not there", ["run", join(folder, "absent")], 66],
    ["a directory as image", ["run", folder], 66],
    ["a text file as image", ["run", file("text", "hello")], 66],
    ["a truncated image", ["run", file("cut", elf.subarray(0, 5000))], 66],
    [
      "an image too large for memory",
      ["run", guest("demo.elf"), "--memory", "2M", "--module", file("big", new Uint8Array(2 << 20))],
      66,
    ],
    ["a missing module", ["run", guest("demo.elf"), "--module", join(folder, "absent")], 66],
    ["a report that cannot be written", ["run", guest("demo.elf"), "--report", join(folder, "no/such/folder")], 74],
  ] as const)("%s", (_name, args, status) => {
    const result = iretq(...args);
    expect(result.status).toBe(status);
    expect(result.stderr).toMatch(/^iretq: [^\n]+\n$/);
    expect(result.stdout).toBe("");
  });

  test("a full disk under the report", () => {
    const result = iretq("run", guest("power.elf"), "--report", "/dev/full");
    expect(result.status).toBe(74);
    expect(result.stderr).toMatch(/cannot write \/dev\/full: no space left on device\n$/);
  });
});

describe("a run", () => {
  test("power off is 0; serial output is all of stdout; table, report and trace agree", () => {
    const report = join(folder, "report.json");
    const trace = join(folder, "trace.pftrace");
    const result = iretq(
      "run",
      guest("demo.elf"),
      "--cpus",
      "2",
      "--memory",
      "64M",
      "--report",
      report,
      "--trace",
      trace,
      "--state-hash",
    );
    expect(result.status).toBe(0);
    expect(result.stdout).toMatch(/^Hello from a bare-metal guest/);
    expect(result.stdout).toContain("Power off.");
    const json = JSON.parse(readFileSync(report, "utf8"));
    expect(json.version).toBe(1);
    expect(json.exit).toMatchObject({ kind: "power-off", status: 0 });
    expect(json.stateHash).toMatch(/^[0-9a-f]{32}$/);
    expect(result.stderr).toContain(json.stateHash);
    expect(json.interrupts.length).toBeGreaterThan(4);
    // Every byte of a Perfetto trace belongs to a TracePacket, field 1 of Trace.
    expect(readFileSync(trace)[0]).toBe(0x0a);
    const again = iretq("demo", "--state-hash");
    expect(again.stderr).toContain(json.stateHash);
  });

  test("the guest's own status comes out odd", () => {
    expect(iretq("run", guest("pic.elf"), "--test-devices").status).toBe(1);
  });

  test("limits are 72 and exact", () => {
    const report = join(folder, "limit.json");
    expect(iretq("demo", "--max-instructions", "123_457", "--report", report).status).toBe(72);
    expect(JSON.parse(readFileSync(report, "utf8"))).toMatchObject({
      instructions: 123457,
      exit: { kind: "instruction-limit" },
    });
    expect(iretq("demo", "--max-time", "100us", "--report", report).status).toBe(72);
    expect(JSON.parse(readFileSync(report, "utf8"))).toMatchObject({
      virtualNs: 100_000,
      exit: { kind: "time-limit" },
    });
  });

  test("a triple fault is 70 and tells its chain", () => {
    const result = iretq("run", guest("reset-triple.elf"));
    expect(result.status).toBe(70);
    expect(result.stderr).toMatch(/triple fault: vector \d+.*RIP/);
  });

  test("a seed changes the run, and the same seed repeats it", () => {
    const hash = (seed: string): string =>
      /state hash (\w+)/.exec(iretq("demo", "--seed", seed, "--state-hash").stderr)![1]!;
    expect(hash("1")).toBe(hash("1"));
    expect(hash("1")).not.toBe(hash("2"));
  });

  test("--log prints events by name", () => {
    const { stderr } = iretq("demo", "--log", "irq,pio");
    expect(stderr).toMatch(/cpu0 interrupt vector=0x30/);
    expect(stderr).toMatch(/cpu0 out com1 /);
  });
});
