/**
 * Debian's iPXE, a bzImage of boot protocol 2.07: it starts in real mode, asks the BIOS for everything, finds the virtio network function and gets an
 * address by DHCP. Needs what `npm run guests` fetches, and is left out without it.
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Pc } from "../../src/machine/pc.ts";
import { parseDevice } from "../../src/machine/pci-devices.ts";

const IMAGE = fileURLToPath(new URL("../../.cache/linux/ipxe.lkrn", import.meta.url));
/** Its command line is a script. Without IPv6: iPXE polls for a router's answer for many seconds, and each of them is a thousand million instructions. */
const SCRIPT = "ifconf -c dhcp net0 && route";
const LIMIT = 1e9;
const SLICE = 5e6;
const TEST_MS = 600_000;

/** Runs until the serial port has said `wanted`, or to the limit. */
function boot(device: string, wanted: RegExp): string {
  let text = "";
  const image = { name: "ipxe.lkrn", bytes: new Uint8Array(readFileSync(IMAGE)), args: SCRIPT };
  const onSerial = (byte: number): void => {
    text += String.fromCharCode(byte);
  };
  const pc = new Pc({ cpus: 1, memory: 64 << 20, image, devices: [parseDevice(device)], onSerial });
  while (!wanted.test(text) && pc.retired < LIMIT && pc.run(pc.retired + SLICE) === null);
  return text;
}

test.runIf(existsSync(IMAGE))(
  "finds the network function and gets 10.0.2.15 by DHCP",
  () => {
    const text = boot("virtio-net", /gw 10\.0\.2\.\d+\s|rror|failed/);
    expect(text).toMatch(/^iPXE initialising devices\.\.\.ok/);
    expect(text).toMatch(/Configuring \[dhcp\] \(net0 52:54:00:12:34:56\)\.* ok/);
    expect(text).toMatch(/net0: 10\.0\.2\.15\/255\.255\.255\.0 gw 10\.0\.2\.2/);
  },
  TEST_MS,
);
