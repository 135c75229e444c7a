/**
 * Debian's amd64 kernel with its floppy driver: a disk is written and read through /dev/fd0, over the 82077AA and channel 2 of the 8237A. Needs that
 * kernel's package and busybox in .cache/linux, and is left out without them.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { unpackKernel } from "../../src/firmware/unpack-kernel.ts";
import { DmaStats } from "../../src/check/dma-stats.ts";
import { Pc } from "../../src/machine/pc.ts";
import { initramfs } from "../../tools/guests/initramfs.ts";

const CACHE = fileURLToPath(new URL("../../.cache/linux/", import.meta.url));
const KERNEL = `${CACHE}vmlinuz-amd64`;
const BUSYBOX = `${CACHE}busybox`;
const LIMIT = 20e9;
const TRACK = 18 * 512;
const ISA_BRIDGE = 0xf8;

/** The driver's file in the unpacked package; null without it. */
function driver(): string | null {
  if (!existsSync(CACHE)) return null;
  const found = readdirSync(CACHE).filter(name => /^x-linux-image-.*-\d+-amd64$/.test(name));
  for (const name of found) {
    const folder = `${CACHE}${name}/lib/modules`;
    if (!existsSync(folder)) continue;
    const file = readdirSync(folder, { recursive: true, encoding: "utf8" }).find(path => path.endsWith("/floppy.ko"));
    if (file !== undefined) return `${folder}/${file}`;
  }
  return null;
}

const bytesOf = (path: string): Uint8Array => new Uint8Array(readFileSync(path));
const md5 = (bytes: Uint8Array): string => createHash("md5").update(bytes).digest("hex");

/** The last 20 tracks are overwritten with the beginning of busybox, then the whole disk is read without the page cache. */
const SCRIPT = `
echo 1 > /proc/sys/kernel/printk
dd if=/bin/busybox of=/dev/fd0 bs=${TRACK} count=20 seek=140 conv=fsync 2>/dev/null || echo WRITE FAILED
echo 3 > /proc/sys/vm/drop_caches
echo "MD5 $(md5sum < /dev/fd0)"
grep floppy /proc/interrupts
cat /proc/dma
dmesg
echo END
poweroff -f
`;

const FLOPPY = driver();
const ready = FLOPPY !== null && existsSync(KERNEL) && existsSync(BUSYBOX);

describe.runIf(ready)("Debian's floppy driver", () => {
  test("writes and reads a disk of 1.44M; the bytes are equal, interrupt 6 is counted, and nothing is complained about", () => {
    const busybox = bytesOf(BUSYBOX);
    const disk = Uint8Array.from({ length: 160 * TRACK }, (_, i) => (i * 7 + (i >> 9) * 13 + (i >> 16)) & 0xff);
    const source = {
      name: "a.img",
      bytes: disk.length,
      read: (position: number, into: Uint8Array, offset: number, length: number) =>
        into.set(disk.subarray(position, position + length), offset),
    };
    const initrd = initramfs(busybox, SCRIPT, [{ name: "floppy", bytes: bytesOf(FLOPPY!) }]);
    const image = { name: "vmlinuz", bytes: bytesOf(KERNEL), args: "console=ttyS0 quiet cryptomgr.notests" };
    let text = "";
    const pc = new Pc({
      ...{ cpus: 1, memory: 256 << 20, image: unpackKernel(image), floppies: [{ source }] },
      initrd: { name: "initrd", bytes: initrd, args: "" },
      onSerial: byte => {
        text += String.fromCharCode(byte);
      },
    });
    const stats = new DmaStats();
    pc.trace.listen(stats, DmaStats.KINDS);
    let exit = null;
    while (exit === null && pc.retired < LIMIT) exit = pc.run(LIMIT);
    if (process.env.IRETQ_SHOW !== undefined) process.stderr.write(text);
    expect(exit).toMatchObject({ kind: "power-off", status: 0 });
    const expected = disk.slice();
    expected.set(busybox.subarray(0, 20 * TRACK), 140 * TRACK);
    expect(/MD5 (\w+)/.exec(text)?.[1]).toBe(md5(expected));
    const onDisk = new Uint8Array(disk.length);
    pc.isa.floppies[0]!.read(0, onDisk, 0, onDisk.length);
    expect(md5(onDisk)).toBe(md5(expected));
    // A track or more per interrupt, and seeks between them.
    expect(Number(/^ *6: +(\d+) .*floppy/m.exec(text)?.[1])).toBeGreaterThan(200);
    expect(text).toMatch(/FDC 0 is a post-1991 82077/);
    expect(text).toMatch(/^ *2: floppy/m);
    expect(text).not.toMatch(
      /WRITE FAILED|I\/O error|floppy.*(error|timeout|lost|unexpected)|Call Trace|WARNING|BUG:/i,
    );
    const isa = stats.requesters().find(({ requester }) => requester === ISA_BRIDGE)!;
    expect(isa.writes.bytes).toBeGreaterThanOrEqual(disk.length);
    expect(isa.reads.bytes).toBeGreaterThanOrEqual(20 * TRACK);
  }, 600_000);
});
