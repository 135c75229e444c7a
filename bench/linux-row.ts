/**
 * The row `linux`: Debian's cloud kernel from the command to power off, in CPU seconds of the whole process (user and system, all of its threads), here and
 * on QEMU's TCG in turns. Needs what `npm run guests` fetches.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const LINUX_ROW = "linux";

const root = fileURLToPath(new URL("..", import.meta.url));
const KERNEL = `${root}.cache/linux/vmlinuz`;
const INITRD = `${root}.cache/linux/initrd-check.img`;
const APPEND = "console=ttyS0 quiet cryptomgr.notests";
const BUILT = ".cache/command-bench";
/** Of user and system time in /proc (USER_HZ). */
const TICKS_PER_SECOND = 100;

/** CPU seconds of all children that have ended (proc(5), /proc/pid/stat: cutime and cstime, fields 16 and 17). */
function childSeconds(): number {
  const fields = readFileSync("/proc/self/stat", "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND;
}

/** CPU seconds of a command that must print END and end with status 0. */
function seconds(command: string, args: readonly string[]): number {
  const before = childSeconds();
  const { status, stdout } = spawnSync(command, args, {
    cwd: root,
    encoding: "latin1",
    stdio: ["ignore", "pipe", "ignore"],
  });
  if (status !== 0 || !/^END\r*$/m.test(stdout)) throw new Error(`${command} did not boot to power off`);
  return childSeconds() - before;
}

const iretq = (): number =>
  seconds("node", [`${BUILT}/iretq.js`, "run", KERNEL, "--initrd", INITRD, "--append", APPEND]);

function qemu(): number {
  const machine = ["-M", "q35", "-cpu", "Nehalem", "-accel", "tcg", "-m", "256", "-nodefaults", "-no-reboot"];
  const boot = ["-kernel", KERNEL, "-initrd", INITRD, "-append", APPEND];
  return seconds("qemu-system-x86_64", [...machine, "-display", "none", "-serial", "stdio", ...boot]);
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

/** The row as lines of text. @param runs how many of each */
export function linuxRow(runs: number): string[] {
  if (!existsSync(KERNEL) || !existsSync(INITRD) || !existsSync("/proc/self/stat"))
    return [`${LINUX_ROW}: left out; it needs Linux and what \`npm run guests\` fetches`];
  const build = spawnSync("node", ["tools/build.mjs", BUILT], { cwd: root, stdio: "ignore" });
  if (build.status !== 0) throw new Error("the command could not be built");
  const hasQemu = spawnSync("qemu-system-x86_64", ["--version"]).status === 0;
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let i = 0; i < runs; i++) {
    ours.push(iretq());
    if (hasQemu) theirs.push(qemu());
  }
  const text = (values: readonly number[]): string =>
    `${median(values).toFixed(2)} s (${Math.min(...values).toFixed(2)} to ${Math.max(...values).toFixed(2)})`;
  const compared = hasQemu
    ? `, QEMU TCG ${text(theirs)}: ${(median(ours) / median(theirs)).toFixed(2)} times as long`
    : "";
  return [`${LINUX_ROW.padEnd(12)}cloud kernel to power off, CPU time: iretq ${text(ours)}${compared}`, ""];
}
