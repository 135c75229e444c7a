/**
 * Debian's iPXE, a bzImage of boot protocol 2.07: it starts in real mode, asks the BIOS for everything, finds the virtio network function and gets an
 * address by DHCP; with something to boot it loads that by TFTP and starts it. Needs what `npm run guests` fetches, and is left out without it.
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import type { NetworkOptions } from "../../src/machine/networks.ts";
import { Pc } from "../../src/machine/pc.ts";
import { parseDevice } from "../../src/machine/pci-devices.ts";

const folder = fileURLToPath(new URL("../../.cache/linux/", import.meta.url));
const IMAGE = `${folder}ipxe.lkrn`;
const KERNEL = `${folder}vmlinuz`;
const INITRD = `${folder}initrd-check.img`;
const MIB = 1 << 20;
const LIMIT = 4e9;
const SLICE = 5e6;
/** Virtual time after which a machine that only sleeps is looked at. */
const SLEEP = 1e9;
const TEST_MS = 600_000;

const read = (path: string): Uint8Array => new Uint8Array(readFileSync(path));

/** Runs with this on iPXE's command line until the serial port has said `wanted`, to the guest's end, or to the limit. */
function boot(args: string, wanted: RegExp, network: NetworkOptions = {}): { text: string; exit: string } {
  let text = "";
  const image = { name: "ipxe.lkrn", bytes: read(IMAGE), args };
  const onSerial = (byte: number): void => {
    text += String.fromCharCode(byte);
  };
  const devices = [parseDevice("virtio-net")];
  const pc = new Pc({ cpus: 1, memory: 256 * MIB, image, devices, network, onSerial });
  for (;;) {
    const exit = pc.run(pc.retired + SLICE, pc.clock.now() + SLEEP);
    if (exit !== null || wanted.test(text) || pc.retired >= LIMIT) return { text, exit: exit?.kind ?? "" };
  }
}

describe.runIf(existsSync(IMAGE))("iPXE", () => {
  test(
    "finds the network function and gets 10.0.2.15 by DHCP",
    () => {
      const { text } = boot("ifconf -c dhcp net0 && route", /gw 10\.0\.2\.\d+\s|rror|failed/);
      expect(text).toMatch(/^iPXE initialising devices\.\.\.ok/);
      expect(text).toMatch(/Configuring \[dhcp\] \(net0 52:54:00:12:34:56\)\.* ok/);
      expect(text).toMatch(/net0: 10\.0\.2\.15\/255\.255\.255\.0 gw 10\.0\.2\.2/);
    },
    TEST_MS,
  );

  test(
    "left alone, says its address by IPv4 and IPv6, and that nobody told it what to boot",
    () => {
      const { text } = boot("", /No more network devices/);
      expect(text).toMatch(/Configuring \(net0 52:54:00:12:34:56\)\.* ok/);
      expect(text).toMatch(/net0: 10\.0\.2\.15\/255\.255\.255\.0 gw 10\.0\.2\.2/);
      expect(text).toContain("net0: fe80::5054:ff:fe12:3456/64");
      expect(text).toMatch(/Nothing to boot: [^\n]+\s+No more network devices/);
    },
    TEST_MS,
  );

  test.runIf(existsSync(KERNEL) && existsSync(INITRD))(
    "loads its boot file by TFTP, as DHCP says: a script, which loads Debian's kernel and starts it in real mode",
    () => {
      const script = "#!ipxe\nkernel vmlinuz console=ttyS0 quiet cryptomgr.notests\ninitrd initrd.img\nboot\n";
      const files = new Map([
        ["boot.ipxe", new TextEncoder().encode(script)],
        ["vmlinuz", read(KERNEL)],
        ["initrd.img", read(INITRD)],
      ]);
      const { text, exit } = boot("", /Kernel panic/, { files, bootFile: "boot.ipxe" });
      for (const name of ["boot.ipxe", "vmlinuz", "initrd.img"])
        expect(text).toMatch(new RegExp(`(?:tftp://10\\.0\\.2\\.2/)?${name}\\.+ ok`));
      expect(text).toMatch(/INIT .* cpus=1\r*\n/);
      expect(exit).toBe("power-off");
    },
    TEST_MS,
  );
});
