/**
 * Debian's cloud kernel with its own virtio-net driver on the simulation's network: an address by DHCP, echoes, a file by TFTP, a name. Needs what
 * `npm run guests` fetches, and is left out without it.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { unpackKernel } from "../../src/firmware/unpack-kernel.ts";
import type { Exit } from "../../src/machine/exit.ts";
import { Pc } from "../../src/machine/pc.ts";
import { parseDevice } from "../../src/machine/pci-devices.ts";
import type { UserNetworkState } from "../../src/net/user-network.ts";
import { initramfs } from "../../tools/guests/initramfs.ts";
import { moduleFolder, modulesFor } from "../../tools/guests/modules.ts";

const CACHE = fileURLToPath(new URL("../../.cache/linux/", import.meta.url));
const KERNEL = `${CACHE}vmlinuz`;
const BUSYBOX = `${CACHE}busybox`;
const MODULES = moduleFolder(CACHE);
const MIB = 1 << 20;
/** Several times what a boot takes. */
const LIMIT = 4e9;
const BOOT_MS = 300_000;
const COMPLAINTS =
  /spurious|nobody cared|\blost\b|lockup|WARNING|BUG:|Call Trace|panic|virtio.*(?:fail|error|broken)|timed out/i;

/** Not a multiple of any block size. */
const FILE = Uint8Array.from({ length: 100_001 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 24);
const SHA256 = createHash("sha256").update(FILE).digest("hex");

const SCRIPT = `mkdir /etc
cat > /tmp/bound <<'BOUND'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/$mask dev $interface
ip route add default via $router
echo "nameserver $dns" > /etc/resolv.conf
echo "LEASE $ip/$mask router $router dns $dns server $serverid seconds $lease"
BOUND
chmod +x /tmp/bound
echo "MAC $(cat /sys/class/net/eth0/address) mtu $(cat /sys/class/net/eth0/mtu)"
ip link set lo up
ip link set eth0 up
echo "LINK $(cat /sys/class/net/eth0/carrier) $(cat /sys/class/net/eth0/speed) $(cat /sys/class/net/eth0/duplex)"
udhcpc -i eth0 -s /tmp/bound -n -q -f -t 2 -T 1 || poweroff -f
ping -c 3 10.0.2.2
ping -c 2 -s 4000 10.0.2.3
ping -c 1 -W 1 192.0.2.1
echo "UNREACHABLE $(grep Icmp: /proc/net/snmp | tail -n 1 | cut -d ' ' -f 5)"
tftp -g -r boot/data -l /tmp/data 10.0.2.2 && echo "TFTP $(sha256sum < /tmp/data)"
tftp -g -b 1468 -r boot/data -l /tmp/large 10.0.2.2 && echo "TFTP $(sha256sum < /tmp/large)"
tftp -g -r absent -l /tmp/absent 10.0.2.2
nslookup gateway.test
nslookup absent.test
nc -w 1 10.0.2.2 80 < /dev/null || echo "REFUSED"
sleep 0.1
grep virtio /proc/interrupts
echo "RX $(cat /sys/class/net/eth0/statistics/rx_packets) errors $(cat /sys/class/net/eth0/statistics/rx_errors) dropped $(cat /sys/class/net/eth0/statistics/rx_dropped)"
echo "END"
poweroff -f
`;

const NAMES = ["virtio_pci", "virtio_net"];
const canRun = existsSync(KERNEL) && existsSync(BUSYBOX) && MODULES !== null;

class Boot {
  readonly pc: Pc;
  text = "";

  constructor(cpus: number, append = "", device = "virtio-net") {
    const image = unpackKernel({
      name: "vmlinuz",
      bytes: new Uint8Array(readFileSync(KERNEL)),
      args: `console=ttyS0 cryptomgr.notests ${append}`,
    });
    const bytes = initramfs(new Uint8Array(readFileSync(BUSYBOX)), SCRIPT, modulesFor(MODULES!, NAMES));
    const onSerial = (byte: number): void => {
      this.text += String.fromCharCode(byte);
    };
    const devices = [parseDevice(device)];
    const network = { files: new Map([["boot/data", FILE]]) };
    const initrd = { name: "initrd", bytes, args: "" };
    this.pc = new Pc({ cpus, memory: 256 * MIB, image, initrd, onSerial, devices, network });
  }

  run(until = LIMIT): Exit | null {
    for (;;) {
      const exit = this.pc.run(until);
      if (exit !== null || this.pc.retired >= until) return exit;
    }
  }

  get lines(): string[] {
    return this.text.split(/\r?\n/);
  }
}

/** Numbers in the line of /proc/interrupts that ends with `name`, summed over CPUs; null when there is no such line. */
function interrupts(boot: Boot, name: string): number | null {
  const line = boot.lines.find(text => text.endsWith(name) && / PCI-MSI |IO-APIC/.test(text));
  const counts = line
    ?.trim()
    .split(/\s+/)
    .slice(1, 1 + boot.pc.cpus.length);
  return counts === undefined ? null : counts.reduce((sum, count) => sum + Number(count), 0);
}

function expectNetwork(boot: Boot): void {
  const { lines } = boot;
  expect(lines).toContain("MAC 52:54:00:12:34:56 mtu 1500");
  expect(lines).toContain("LINK 1 1000 full");
  expect(lines).toContain("LEASE 10.0.2.15/24 router 10.0.2.2 dns 10.0.2.3 server 10.0.2.2 seconds 86400");
  expect(lines).toContain("3 packets transmitted, 3 packets received, 0% packet loss");
  expect(lines.filter(line => line.startsWith("4008 bytes from 10.0.2.3"))).toHaveLength(2);
  expect(lines).toContain("2 packets transmitted, 2 packets received, 0% packet loss");
  // Elsewhere: one echo, and one "destination unreachable" for it.
  expect(lines).toContain("1 packets transmitted, 0 packets received, 100% packet loss");
  expect(lines).toContain("UNREACHABLE 1");
  expect(lines.filter(line => line === `TFTP ${SHA256}  -`)).toHaveLength(2);
  expect(lines).toContain("tftp: server error: (1) no such file");
  expect(boot.text).toMatch(/Name:\s+gateway\.test\r?\nAddress: 10\.0\.2\.2\r?\n/);
  expect(lines).toContain("** server can't find absent.test: NXDOMAIN");
  expect(lines).toContain("nc: can't connect to remote host (10.0.2.2): Connection refused");
  expect(lines.find(line => line.startsWith("RX "))).toMatch(/^RX \d+ errors 0 dropped 0$/);
  const complaints = lines.filter(line => COMPLAINTS.test(line) && !/^ *[A-Z]{3}: /.test(line));
  expect(complaints).toEqual([]);
}

describe.runIf(canRun)("Debian's virtio-net driver on the simulation's network", () => {
  test.each([
    [1, "", ["virtio0-input.0", "virtio0-output.0"]],
    [4, "", ["virtio0-input.0", "virtio0-output.0"]],
    [1, "pci=nomsi", ["virtio0"]],
  ] as const)(
    "on %i CPUs %s: DHCP, echo, fragments, TFTP, DNS, refusals",
    (cpus, append, names) => {
      const boot = new Boot(cpus, append);
      expect(boot.run()).toMatchObject({ kind: "power-off", status: 0 });
      expectNetwork(boot);
      const received = Number(/^RX (\d+)/m.exec(boot.text)![1]);
      // A file of 100 001 bytes comes in 196 blocks, and in 69 of the largest size; everything else is a handful.
      expect(received).toBeGreaterThan(196 + 69);
      expect(received).toBeLessThan(196 + 69 + 40);
      for (const name of names) {
        const count = interrupts(boot, name);
        expect([name, count]).toEqual([name, expect.any(Number)]);
        expect(count).toBeGreaterThan(196 + 69);
        expect(count).toBeLessThan(names.length === 1 ? 700 : 350);
      }
      const [wire] = boot.pc.pci.networks.wires;
      expect(wire!.state.lanes.map(({ dropped }) => dropped)).toEqual([0, 0]);
    },
    BOOT_MS,
  );

  test(
    "the same again; and saved in the midst of a file with a frame on the wire, then loaded: the same end",
    () => {
      const whole = new Boot(2);
      expect(whole.run()?.kind).toBe("power-off");
      const half = new Boot(2);
      const [wire] = half.pc.pci.networks.wires;
      const network = half.pc.parts.find(({ name }) => name === "virtio-net network")!.state as UserNetworkState;
      const inFlight = (): boolean => wire!.state.lanes[1]!.count > 0 && network.tftp.transfers[0]?.block === 77;
      while (network.tftp.transfers.length === 0) expect(half.pc.run(half.pc.retired + 500_000)).toBeNull();
      while (!inFlight()) expect(half.pc.run(half.pc.retired + 500)).toBeNull();
      const resumed = new Boot(2);
      resumed.pc.load(half.pc.save());
      expect(resumed.pc.stateHash()).toBe(half.pc.stateHash());
      const before = half.text;
      for (const boot of [half, resumed]) {
        expect(boot.run()?.kind).toBe("power-off");
        expect([boot.pc.retired, boot.pc.stateHash()]).toEqual([whole.pc.retired, whole.pc.stateHash()]);
      }
      expect([half.text, before + resumed.text]).toEqual([whole.text, whole.text]);
    },
    3 * BOOT_MS,
  );

  test(
    "without a network the link is down, and udhcpc gives up",
    () => {
      const boot = new Boot(1, "", "virtio-net,net=none,mac=02:00:00:00:00:09,mtu=1400,speed=100");
      expect(boot.run()).toMatchObject({ kind: "power-off", status: 0 });
      expect(boot.lines).toContain("MAC 02:00:00:00:00:09 mtu 1400");
      expect(boot.lines.find(line => line.startsWith("LINK "))).toMatch(/^LINK 0 /);
      expect(boot.lines).toContain("udhcpc: no lease, failing");
    },
    BOOT_MS,
  );
});
