/**
 * What `npm run linux` runs, on a pseudo terminal as for a user at the keyboard: a shell prompt, and both ways to leave it. Needs `script` of util-linux and
 * what `npm run guests` fetches.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const built = ".cache/command-shell";
const DIALOGUE_MS = 120_000;
/** What a terminal does not show: escape sequences, carriage returns. */
const CONTROL = new RegExp(`${String.fromCharCode(27)}\\[[\\d;]*\\w|\\r`, "g");
const hasScript = spawnSync("script", ["--version"]).error === undefined;
const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: { linux: string } };
/** The last of its commands; the ones before fetch and build. */
const command = scripts.linux.split(" && ").at(-1)!;
const isFetched = [...command.matchAll(/\.cache\/\S+/g)].every(([path]) => existsSync(join(root, path)));

/** Types each answer when its question has appeared behind the previous one. Returns the status and everything on the screen. */
function converse(dialogue: readonly (readonly [question: RegExp, answer: string])[]) {
  return new Promise<{ status: number | null; screen: string }>((resolve, reject) => {
    const line = command.replace("dist/", `${built}/`);
    const child = spawn("script", ["-qec", line, "/dev/null"], { cwd: root, stdio: ["pipe", "pipe", "inherit"] });
    const questions = [...dialogue];
    let screen = "";
    let unanswered = "";
    child.stdout.setEncoding("latin1").on("data", (text: string) => {
      screen += text;
      unanswered += text;
      if (questions[0]?.[0].test(unanswered.replace(CONTROL, "")) !== true) return;
      unanswered = "";
      child.stdin.write(questions.shift()![1]);
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), DIALOGUE_MS);
    child.on("error", reject);
    child.on("close", status => {
      clearTimeout(timer);
      resolve({ status, screen });
    });
  });
}

const PROMPT = /[/~] # $/;

describe.runIf(hasScript && isFetched)("npm run linux", () => {
  beforeAll(() => {
    execFileSync("node", [join(root, "tools/build.mjs"), built]);
  });

  test.each(["exit", "poweroff"])(
    "a shell prompt that answers; %s ends with status 0",
    async leave => {
      const { status, screen } = await converse([
        [PROMPT, "echo $((6 * 7)) CPU $(grep -c ^processor /proc/cpuinfo)\r"],
        [/42 CPU 1\n[/~] # $/, `${leave}\r`],
      ]);
      expect(screen).toContain("42 CPU 1");
      expect(screen).toContain("the guest powered the machine off");
      expect(status).toBe(0);
    },
    2 * DIALOGUE_MS,
  );
});
