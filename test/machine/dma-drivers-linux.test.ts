/**
 * The same device under two drivers: what Linux's ioatdma and the scripted driver do to an I/OAT engine for one request. (IDE: ide.test.ts counts ata_piix,
 * src/kernel/dma/drivers.test.ts the scripted driver.) Linux's requests are those of the driver's own tests when it is loaded. Needs what
 * `npm run guests` fetches, and is left out without it.
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { unpackKernel } from "../../src/firmware/unpack-kernel.ts";
import { dmaRun } from "../../src/kernel/dma/dma-rig.testing.ts";
import { IoatDriver, PciFunction } from "../../src/kernel/index.ts";
import { Pc } from "../../src/machine/pc.ts";
import { parseDevice } from "../../src/machine/pci-devices.ts";
import { EVENT } from "../../src/ports/events.ts";
import { initramfs } from "../../tools/guests/initramfs.ts";
import { moduleFolder, modulesFor } from "../../tools/guests/modules.ts";

const CACHE = fileURLToPath(new URL("../../.cache/linux/", import.meta.url));
const KERNEL = `${CACHE}vmlinuz-amd64`;
const BUSYBOX = `${CACHE}busybox`;
const FOLDER = moduleFolder(CACHE, "amd64");
const LIMIT = 4e9;
const ENGINE = 5 << 3;
const BYTES = 0x4000;
const KINDS = [EVENT.mmioWrite, EVENT.mmioRead, EVENT.msi, EVENT.doorbell, EVENT.completion];

type Event = {
  readonly kind: number;
  readonly subject: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
};

/** What happens between engine and processor for each request that ends well and does not come right behind an error, from its doorbell to the last access before the next one: offsets in the BAR. */
function requests(events: readonly Event[], base: number): string[] {
  const found: string[] = [];
  let steps: string[] | null = null;
  let good = true;
  let failed = false;
  const end = (): void => {
    if (steps !== null && good) found.push(steps.join(" "));
  };
  for (const { kind, subject, a, c } of events) {
    const offset = (a - base).toString(16);
    const ours = a >= base && a < base + BYTES;
    if (kind === EVENT.mmioWrite && ours && a - base === 0x86) {
      end();
      steps = [];
      good = !failed;
      failed = false;
    }
    if (kind === EVENT.completion && subject === ENGINE && c !== 0) {
      good = false;
      failed = true;
    }
    if (kind === EVENT.msi && subject === ENGINE) steps?.push("message");
    if (kind === EVENT.mmioWrite && ours) steps?.push(`write ${offset}`);
    if (kind === EVENT.mmioRead && ours) steps?.push(`read ${offset}`);
  }
  end();
  return found;
}

function linux(): { text: string; list: string[] } {
  const image = unpackKernel({
    name: "vmlinuz",
    bytes: new Uint8Array(readFileSync(KERNEL)),
    args: "console=ttyS0 quiet cryptomgr.notests",
  });
  const script = "grep ioat /proc/interrupts\necho END\npoweroff -f\n";
  const modules = modulesFor(FOLDER!, ["ioatdma"]);
  const initrd = initramfs(new Uint8Array(readFileSync(BUSYBOX)), script, modules);
  let text = "";
  const pc = new Pc({
    ...{ cpus: 1, memory: 256 << 20, image, initrd: { name: "initrd", bytes: initrd, args: "" } },
    devices: [parseDevice("ioat,addr=5")],
    onSerial: byte => {
      text += String.fromCharCode(byte);
    },
  });
  const base = barOf(pc);
  const events: Event[] = [];
  pc.trace.listen(
    {
      event: (_time, kind, subject, a, b, c) => {
        const access = kind === EVENT.mmioWrite || kind === EVENT.mmioRead;
        if (!access || (a >= base && a < base + BYTES)) events.push({ kind, subject, a, b, c });
      },
    },
    KINDS,
  );
  let exit = null;
  while (exit === null && pc.retired < LIMIT) exit = pc.run(LIMIT);
  expect(exit?.kind).toBe("power-off");
  return { text, list: requests(events, base) };
}

const barOf = (pc: Pc): number => (pc.pci.root.read(0, ENGINE, 0x10, 4) & ~15) >>> 0;

describe.runIf(FOLDER !== null && existsSync(KERNEL) && existsSync(BUSYBOX))("one I/OAT request", () => {
  test("under Linux and under the scripted driver: the doorbell, one message, and the write that lets the next one through", () => {
    const { text, list } = linux();
    expect(text).toContain("END");
    // DMACOUNT, the interrupt, CHANCTRL; what follows a request only because the driver's test is over comes behind these.
    const expected = "write 86 message write 80";
    expect(list.length).toBeGreaterThanOrEqual(4);
    for (const request of list) expect(request.startsWith(expected)).toBe(true);
    expect(list.filter(request => request === expected).length).toBeGreaterThanOrEqual(2);

    const { run, rig } = dmaRun(
      { devices: ["ioat,addr=5"] },
      function* (dma) {
        const driver = new IoatDriver(new PciFunction(0, 5), dma.device());
        yield* driver.begin(dma.kernel);
        const at = dma.memory.allocate(8192);
        const copy = () => driver.copy([{ address: at, bytes: 4096 }], [{ address: at + 4096, bytes: 4096 }]);
        for (let i = 0; i < 4; i++) yield* copy();
      },
      KINDS,
    );
    expect(requests(run.events, barOf(rig.machine.pc))).toEqual(new Array(4).fill(expected));
  }, 300_000);
});
