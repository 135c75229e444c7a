/**
 * The virtio drivers of Debian's cloud kernel on our devices. Needs what `npm run guests` fetches, and is left out without it.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HostError } from "../../src/base/assert.ts";
import { HostDisks, parseDisk } from "../../src/cli/disks.ts";
import { unpackKernel } from "../../src/firmware/unpack-kernel.ts";
import type { Exit } from "../../src/machine/exit.ts";
import { Pc } from "../../src/machine/pc.ts";
import type { PcOptions } from "../../src/machine/pc-options.ts";
import { parseDevice } from "../../src/machine/pci-devices.ts";
import { initramfs } from "../../tools/guests/initramfs.ts";
import { moduleFolder, modulesFor } from "../../tools/guests/modules.ts";
import { pattern, sha256, sourceOf } from "./pattern-disk.ts";

const CACHE = fileURLToPath(new URL("../../.cache/linux/", import.meta.url));
const KERNEL = `${CACHE}vmlinuz`;
const BUSYBOX = `${CACHE}busybox`;
const MODULES = moduleFolder(CACHE);
const MIB = 1 << 20;
const DISK = 2 * MIB;
/** Several times what a boot takes. */
const LIMIT = 4e9;
const BOOT_MS = 300_000;
const COMPLAINTS =
  /spurious|nobody cared|\blost\b|lockup|WARNING|BUG:|Call Trace|panic|I\/O error|virtio.*(?:fail|error|broken)/i;

/** A disk image of the host: every byte follows from its place. */
/** Bytes that `seq 1 20000` prints. */
const NUMBERS = new TextEncoder().encode(Array.from({ length: 20_000 }, (_, i) => `${i + 1}\n`).join(""));

/** Reads all of vda, writes to it, reads back; makes a file system on vdc and uses it; reads random numbers; writes to hvc0. */
const SCRIPT = `mkdir /mnt
echo "vda $(cat /sys/block/vda/size) $(sha256sum < /dev/vda)"
echo "serial $(cat /sys/block/vda/serial)"
seq 1 20000 > /tmp/numbers
dd if=/tmp/numbers of=/dev/vda bs=4096 seek=100 conv=fsync 2> /dev/null
dd if=/tmp/numbers of=/dev/vda bs=512 seek=3001 count=3 conv=fsync 2> /dev/null
echo 3 > /proc/sys/vm/drop_caches
echo "read back $(dd if=/dev/vda bs=4096 skip=100 count=40 2> /dev/null | head -c $(stat -c %s /tmp/numbers) | cmp - /tmp/numbers && echo same)"
echo "vdb ro=$(cat /sys/block/vdb/ro) $(sha256sum < /dev/vdb)"
mke2fs /dev/vdc > /dev/null 2>&1
mount -t ext4 /dev/vdc /mnt && cp /tmp/numbers /mnt/numbers && umount /mnt
mount -t ext4 /dev/vdc /mnt && cmp /mnt/numbers /tmp/numbers && echo "file system good"
umount /mnt
echo "random $(cat /sys/class/misc/hw_random/rng_current) $(dd if=/dev/hwrng bs=64 count=2 2> /dev/null | sha256sum)"
echo "a line by hvc0" > /dev/hvc0
sleep 0.1
grep virtio /proc/interrupts
sync
echo "END"
poweroff -f
`;

const names = ["virtio_pci", "virtio_blk", "virtio_rng", "virtio_console"];
const canRun = existsSync(KERNEL) && existsSync(BUSYBOX) && MODULES !== null;

type Disks = NonNullable<PcOptions["disks"]>;
/** vda, vdb and vdc. */
const MEMORY_DISKS: Disks = [
  { source: sourceOf(pattern(DISK)) },
  { source: sourceOf(pattern(MIB)), readOnly: true },
  { source: sourceOf(new Uint8Array(DISK)) },
];
type BootOptions = {
  readonly append?: string;
  readonly script?: string;
  readonly disks?: Disks;
  readonly devices?: readonly string[];
  /** All text of the console so far, at every character. */
  readonly onText?: (text: string) => void;
};

class Boot {
  readonly pc: Pc;
  text = "";

  constructor(
    cpus: number,
    {
      append = "",
      script = SCRIPT,
      disks = MEMORY_DISKS,
      devices: added = ["virtio-rng", "virtio-console"],
      onText = () => {},
    }: BootOptions = {},
  ) {
    const image = unpackKernel({
      name: "vmlinuz",
      bytes: new Uint8Array(readFileSync(KERNEL)),
      args: `console=ttyS0 cryptomgr.notests ${append}`,
    });
    const bytes = initramfs(new Uint8Array(readFileSync(BUSYBOX)), script, modulesFor(MODULES!, names));
    const onSerial = (byte: number): void => {
      this.text += String.fromCharCode(byte);
      onText(this.text);
    };
    const devices = added.map(parseDevice);
    const initrd = { name: "initrd", bytes, args: "" };
    this.pc = new Pc({ cpus, memory: 256 * MIB, image, initrd, onSerial, disks, devices });
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

/** What vda must hold at the end. */
function expectedDisk(): Uint8Array {
  const bytes = pattern(DISK);
  bytes.set(NUMBERS, 100 * 4096);
  bytes.set(NUMBERS.subarray(0, 3 * 512), 3001 * 512);
  return bytes;
}

function contents(boot: Boot, disk: number): Uint8Array {
  const image = boot.pc.disks[disk]!;
  const bytes = new Uint8Array(image.bytes);
  image.read(0, bytes, 0, bytes.length);
  return bytes;
}

/** Of the queue's line of /proc/interrupts: how often, and how. */
function interrupts(boot: Boot, queue: string): { count: number; kind: string } {
  const line = boot.lines.find(text => / *\d+: /.test(text) && text.includes(queue)) ?? "";
  const [, count = "0", kind = ""] = /^ *\d+: +(\d+) +(\S+)/.exec(line) ?? [];
  return { count: Number(count), kind };
}

function expectAllWell(boot: Boot): void {
  const { lines } = boot;
  expect(lines).toContain(`vda ${DISK / 512} ${sha256(pattern(DISK))}  -`);
  expect(lines).toContain("serial iretq-disk0");
  expect(lines).toContain("read back same");
  expect(lines).toContain(`vdb ro=1 ${sha256(pattern(MIB))}  -`);
  expect(lines).toContain("file system good");
  expect(lines.find(line => line.startsWith("random "))).toMatch(/^random virtio_rng\.\d [0-9a-f]{64} {2}-$/);
  expect(lines).toContain("a line by hvc0");
  expect(lines).toContain("END");
  expect(lines.filter(line => COMPLAINTS.test(line))).toEqual([]);
  expect(sha256(contents(boot, 0))).toBe(sha256(expectedDisk()));
  expect(boot.pc.disks[1]!.dirtyChunks).toBe(0);
  // The superblock's magic number of ext2, ext3 and ext4.
  expect([...contents(boot, 2).subarray(1024 + 56, 1024 + 58)]).toEqual([0x53, 0xef]);
}

describe.runIf(canRun)("Debian's virtio drivers", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "iretq-virtio-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test(
    "the terminal's keys reach hvc0 with input=on, a shell there is usable; a disk with two queues has one for each CPU",
    () => {
      const script = [
        "mkdir -p /mnt",
        'echo "queues $(echo $(ls /sys/block/vda/mq))"',
        "for cpu in 0 1; do taskset $((cpu + 1)) sha256sum /dev/vda; echo 3 > /proc/sys/vm/drop_caches; done",
        "grep virtio1-req /proc/interrupts",
        'PS1="shell here> " sh -i < /dev/hvc0 > /dev/hvc0 2>&1',
        "poweroff -f",
      ];
      const keys = new Map([
        ["queues", "2"],
        ["addr", "10"],
      ]);
      let typed = 0;
      const lines = ["expr 6 \\* 7\r", "reverse() { rev; }; echo abc | reverse\r", "exit\r"];
      const boot: Boot = new Boot(2, {
        script: `${script.join("\n")}\n`,
        disks: [{ source: sourceOf(pattern(DISK)), keys }],
        devices: ["virtio-console,input=on"],
        onText: text => {
          if (typed < lines.length && text.split("shell here> ").length === typed + 2)
            boot.pc.type(new TextEncoder().encode(lines[typed++]!));
        },
      });
      expect(boot.run()).toMatchObject({ kind: "power-off", status: 0 });
      expect(typed).toBe(3);
      expect(boot.lines).toContain("queues 0 1");
      expect(boot.lines.filter(line => line.startsWith(sha256(pattern(DISK))))).toHaveLength(2);
      // CPU n's requests went by queue n, and its interrupts came back to CPU n.
      const counts = [0, 1].map(queue => boot.lines.find(line => line.endsWith(`virtio1-req.${queue}`)) ?? "");
      expect(counts[0]).toMatch(/^ *\d+: +[1-9]\d* +\d+ +PCI-MSI/);
      expect(counts[1]).toMatch(/^ *\d+: +\d+ +[1-9]\d* +PCI-MSI/);
      // What was typed comes back as an echo, and then the answer. The shell asks the terminal where its cursor is.
      const said = boot.text.replaceAll("\u001b[6n", "");
      expect(said).toMatch(/shell here> expr 6 \\\* 7\r\n42\r\n/);
      expect(said).toMatch(/\r\ncba\r\n/);
      expect(boot.lines.filter(line => COMPLAINTS.test(line))).toEqual([]);
    },
    BOOT_MS,
  );

  test(
    "by MSI-X: disks, random numbers and a console work; saved in the middle and loaded, it ends in the same state",
    () => {
      const whole = new Boot(1);
      expect(whole.run()).toMatchObject({ kind: "power-off", status: 0 });
      expectAllWell(whole);
      for (const queue of ["virtio2-req.0", "virtio0-input", "virtio1-output"]) {
        const { count, kind } = interrupts(whole, queue);
        expect([queue, count > 0, kind]).toEqual([queue, true, "PCI-MSI"]);
      }
      const half = new Boot(1);
      // Soon after the guest has begun to write.
      for (let cut = 1_000_003; half.pc.disks[0]!.dirtyChunks === 0; cut += 1_000_003) expect(half.run(cut)).toBeNull();
      const resumed = new Boot(1);
      resumed.pc.load(half.pc.save());
      expect(resumed.run()?.kind).toBe("power-off");
      expect([resumed.pc.retired, resumed.pc.stateHash()]).toEqual([whole.pc.retired, whole.pc.stateHash()]);
      expect(half.text + resumed.text).toBe(whole.text);
      expect(sha256(contents(resumed, 0))).toBe(sha256(expectedDisk()));
    },
    3 * BOOT_MS,
  );

  test(
    "by INTx on two CPUs (pci=nomsi): the same, through _PRT and the I/O APIC, with files of the host",
    () => {
      const [a, b, c] = ["a", "b", "c"].map(name => join(folder, name)) as [string, string, string];
      writeFileSync(a, pattern(DISK));
      writeFileSync(b, pattern(MIB));
      writeFileSync(c, new Uint8Array(DISK));
      const disks = new HostDisks([a, `${b},ro`, `${c},snapshot`].map(parseDisk));
      const boot = new Boot(2, { append: "pci=nomsi", disks: disks.media });
      expect(boot.run()).toMatchObject({ kind: "power-off", status: 0 });
      expectAllWell(boot);
      const lines = boot.lines.filter(text => /^ *\d+: .*virtio/.test(text));
      for (const line of lines) expect(line).toMatch(/^ *\d+: +\d+ +\d+ +IO-APIC +\d+-fasteoi +virtio/);
      expect(lines.flatMap(line => line.match(/virtio\d/g)!).sort()).toEqual([
        "virtio0",
        "virtio1",
        "virtio2",
        "virtio3",
        "virtio4",
      ]);
      // Everything was flushed by the guest.
      expect(boot.pc.disks[0]!.dirtyChunks).toBe(0);
      disks.finish(boot.pc.disks);
      expect(sha256(readFileSync(a))).toBe(sha256(expectedDisk()));
      expect(sha256(readFileSync(b))).toBe(sha256(pattern(MIB)));
      expect(sha256(readFileSync(c))).toBe(sha256(new Uint8Array(DISK)));
    },
    BOOT_MS,
  );

  test(
    "a file that is truncated while the machine runs ends the run with one line",
    () => {
      const path = join(folder, "disk.img");
      writeFileSync(path, pattern(DISK));
      const disks = new HostDisks([parseDisk(path)]);
      let cut = false;
      const onText = (text: string): void => {
        if (cut || !text.endsWith("NOW")) return;
        cut = true;
        truncateSync(path, MIB);
      };
      const script = "echo NOW\nsleep 0.1\nsha256sum < /dev/vda\n";
      const boot = new Boot(1, { script, disks: disks.media, onText });
      expect(() => boot.run()).toThrow(new HostError(`${path}: was truncated while the machine ran`, 74));
    },
    BOOT_MS,
  );
});
