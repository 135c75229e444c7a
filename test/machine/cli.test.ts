/**
 * The command as users meet it: statuses, one line for every mistake, report and trace files.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "iretq-"));
/** Built here and not in dist/, so that the test sees the present sources. */
const command = join(root, ".cache/command/iretq.js");
const guest = (name: string): string => join(root, "guests", name);

beforeAll(() => {
  execFileSync("node", [join(root, "tools/build.mjs"), ".cache/command"]);
});

function iretq(...args: string[]) {
  const { status, stdout, stderr } = spawnSync("node", [command, ...args], { encoding: "utf8", maxBuffer: 1 << 28 });
  return { status, stdout, stderr };
}
const file = (name: string, bytes: Uint8Array | string): string => {
  writeFileSync(join(folder, name), bytes);
  return join(folder, name);
};

const withByte = (bytes: Uint8Array, at: number, value: number): Uint8Array => {
  const changed = bytes.slice();
  changed[at] = value;
  return changed;
};

/** Both headers' magic numbers made unreadable. */
function withoutMultiboot(bytes: Uint8Array): Uint8Array {
  const changed = bytes.slice();
  const view = new DataView(changed.buffer, changed.byteOffset, changed.byteLength);
  for (let at = 0; at + 4 <= changed.length; at += 4)
    if ([0x1badb002, 0xe85250d6].includes(view.getUint32(at, true))) view.setUint32(at, 0, true);
  return changed;
}

/** As the Linux boot protocol says: 0x55 0xAA at 0x1FE, "HdrS" at 0x202. */
function linux(): Uint8Array {
  const bytes = new Uint8Array(4096);
  bytes.set([0x55, 0xaa], 0x1fe);
  bytes.set(new TextEncoder().encode("HdrS"), 0x202);
  return bytes;
}

function bootSector(code: readonly number[]): string {
  const bytes = new Uint8Array(512);
  bytes.set(code);
  bytes.set([0x55, 0xaa], 510);
  return file(`boot-${code.length}-${code[code.length - 1]}`, bytes);
}

/** A raw multiboot 1 image at 1 MiB: 32-bit protected mode, no interrupt descriptor table. */
function rawKernel(code: readonly number[]): string {
  const flags = 0x10000;
  const load = 0x100000;
  const header = [0x1badb002, flags, -(0x1badb002 + flags), load, load, 0, 0, load + 32];
  const bytes = new Uint8Array(32 + code.length);
  header.forEach((word, i) => {
    new DataView(bytes.buffer).setUint32(i * 4, word, true);
  });
  bytes.set(code, 32);
  return file(`raw-${code.join("-")}`, bytes);
}

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
    ["no file name", ["run", ""], 64],
    ["a module without a file name", ["run", guest("demo.elf"), "--module", " "], 64],
    ["a 64-bit ELF file without a multiboot header", ["run", file("plain", withoutMultiboot(elf))], 66],
    ["an ELF file of another processor", ["run", file("arm", withByte(elf, 18, 40))], 66],
    ["an object file", ["run", file("object", withByte(elf, 16, 1))], 66],
    ["an empty image", ["run", file("empty", "")], 66],
    ["a Linux kernel", ["run", file("bzImage", linux())], 66],
    ["a report that cannot be written", ["run", guest("demo.elf"), "--report", join(folder, "no/such/folder")], 74],
  ] as const)("%s", (_name, args, status) => {
    const result = iretq(...args);
    expect(result.status).toBe(status);
    expect(result.stderr).toMatch(/^iretq: [^\n]+\n$/);
    expect(result.stdout).toBe("");
  });

  test("outputs are not written over inputs, nor over each other, whatever their paths", () => {
    const image = file("precious.elf", readFileSync(guest("power.elf")));
    symlinkSync(image, join(folder, "link.elf"));
    const over = iretq("run", image, "--report", join(folder, "link.elf"));
    expect([over.status, over.stderr]).toEqual([
      64,
      expect.stringMatching(/^iretq: --report: .* is also the image\n$/),
    ]);
    expect(readFileSync(image)).toEqual(readFileSync(guest("power.elf")));
    const same = iretq("demo", "--report", join(folder, "new"), "--trace", join(folder, "./new"));
    expect([same.status, same.stderr]).toEqual([64, expect.stringMatching(/^iretq: --trace: .* is also --report\n$/)]);
  });

  test("standard output that cannot be written", () => {
    const full = spawnSync("sh", ["-c", `exec node ${command} demo > /dev/full`], { encoding: "utf8" });
    expect(full.status).toBe(74);
    expect(full.stderr).toBe("iretq: cannot write to standard output: no space left on device\n");
  });

  test("a reader that goes away ends the run with one line", async () => {
    // A boot sector that sends "x" to the serial port for ever: mov dx, 0x3F8; mov al, 'x'; out dx, al; jmp.
    const child = spawn("node", [command, "run", bootSector([0xba, 0xf8, 0x03, 0xb0, 0x78, 0xee, 0xeb, 0xfd])]);
    let stderr = "";
    child.stderr.on("data", data => {
      stderr += data;
    });
    child.stdout.once("data", () => child.stdout.destroy());
    const status = await new Promise(resolve => child.on("close", resolve));
    expect([status, stderr]).toEqual([74, "iretq: cannot write to standard output: nobody reads it any more\n"]);
  });

  test("Ctrl-C ends an endless guest with 130, and the report is there", async () => {
    // mov dx, 0x3F8; mov al, 'x'; out dx, al; jmp $.
    const image = bootSector([0xba, 0xf8, 0x03, 0xb0, 0x78, 0xee, 0xeb, 0xfe]);
    const report = join(folder, "interrupted.json");
    const child = spawn("node", [command, "run", image, "--report", report]);
    child.stdout.once("data", () => child.kill("SIGINT"));
    const status = await new Promise(resolve => child.on("close", resolve));
    expect(status).toBe(130);
    expect(JSON.parse(readFileSync(report, "utf8")).exit.kind).toBe("interrupted");
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

  test("--log prints events by name: interrupts, ports, memory of devices and of the local APIC, MSRs", () => {
    const { stderr } = iretq("demo", "--log", "irq,pio,mmio,msr");
    expect(stderr).toMatch(/cpu0 interrupt vector=0x30/);
    expect(stderr).toMatch(/cpu0 out com1 /);
    expect(stderr).toMatch(/cpu0 mmio-write ioapic\.IOREGSEL \(0xfec00000\)/);
    expect(stderr).toMatch(/cpu1 mmio-write lapic\.EOI \(0xfee000b0\) size=4 value=0x00/);
    expect(stderr).toMatch(/cpu0 mmio-read lapic\.IRR2 \(0xfee00220\) size=4/);
    expect(stderr).toMatch(/cpu0 wrmsr IA32_EFER \(0xc0000080\)/);
  });

  test("an instruction that is not built is named; what the manual leaves undefined is not", () => {
    // vpaddd xmm0, xmm0, xmm1 (VEX.128.66.0F.WIG FE /r); there is no IDT: #UD ends in a triple fault.
    const built = iretq("run", rawKernel([0xc5, 0xf9, 0xfe, 0xc1]));
    expect(built.status).toBe(70);
    expect(built.stderr).toContain("note: instruction not built: VPADDD (met once by CPU 0), it raised #UD\n");
    // 0F 0A: an empty place in SDM vol. 2D, table A-3.
    const undefinedOne = iretq("run", rawKernel([0x0f, 0x0a]));
    expect(undefinedOne.status).toBe(70);
    expect(undefinedOne.stderr).not.toContain("note:");
  });

  test("--version is that of the package", () => {
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
    expect(iretq("--version").stdout).toBe(`${version}\n`);
  });

  test.each([[["--help"]], [["run", "--help"]], [["demo", "--help"]], [["help"]], [["--version"]]])(
    "iretq %s writes to stdout and is 0",
    args => {
      const { status, stdout, stderr } = iretq(...args);
      expect([status, stderr]).toEqual([0, ""]);
      expect(stdout).not.toBe("");
    },
  );
});
