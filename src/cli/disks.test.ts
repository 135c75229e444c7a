import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HostError } from "../base/assert.ts";
import { DiskImage } from "../devices/disk-image.ts";
import { diskFiles, HostDisks, parseCdrom, parseDisk } from "./disks.ts";

let folder: string;
let path: string;
const BYTES = 10_240;
const original = Uint8Array.from({ length: BYTES }, (_, i) => i * 13);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "iretq-disks-"));
  path = join(folder, "disk.img");
  writeFileSync(path, original);
});
afterEach(() => rmSync(folder, { recursive: true }));

/** The images that a board would make of these options. */
function open(...texts: string[]): { disks: HostDisks; images: DiskImage[] } {
  const disks = new HostDisks(texts.map(parseDisk));
  return { disks, images: disks.media.map((medium, i) => new DiskImage({ name: `disk ${i}`, ...medium })) };
}
function errorOf(act: () => unknown): [string, number] {
  try {
    act();
  } catch (error) {
    if (error instanceof HostError) return [error.message, error.status];
    throw error;
  }
  return ["nothing was thrown", 0];
}
const file = (): Uint8Array => new Uint8Array(readFileSync(path));
const changed = (position: number, bytes: number[]): Uint8Array => {
  const copy = original.slice();
  copy.set(bytes, position);
  return copy;
};

describe("--disk file[,ro][,snapshot]", () => {
  it("takes the words at the end as options, everything before them as the path", () => {
    expect(parseDisk("a.img")).toEqual({ path: "a.img", readOnly: false, snapshot: false });
    expect(parseDisk("a,b.img,ro")).toEqual({ path: "a,b.img", readOnly: true, snapshot: false });
    expect(parseDisk("a.img,snapshot,ro")).toEqual({ path: "a.img", readOnly: true, snapshot: true });
    expect(parseDisk("ro")).toEqual({ path: "ro", readOnly: false, snapshot: false });
    expect(errorOf(() => parseDisk(",ro"))).toEqual(['--disk: ",ro" names no file', 64]);
  });
  it("if=ide puts it on an IDE cable", () => {
    const ide = { path: "a.img", readOnly: false, snapshot: false, ide: true };
    expect(parseDisk("a.img,if=ide")).toEqual(ide);
    expect(parseDisk("a.img,snapshot,if=ide,ro")).toEqual({ ...ide, readOnly: true, snapshot: true });
    expect(parseDisk("a.img,if=virtio")).toEqual({ path: "a.img", readOnly: false, snapshot: false });
    expect(parseDisk("a,if=ide,b.img")).toEqual({ path: "a,if=ide,b.img", readOnly: false, snapshot: false });
    expect(parseDisk("if=ide")).toEqual({ path: "if=ide", readOnly: false, snapshot: false });
  });
  it("bus, addr, id and queues say where a virtio disk goes, in any order with the others, and not for IDE", () => {
    const keys = new Map([
      ["bus", "rp0"],
      ["addr", "1f"],
      ["id", "root"],
      ["queues", "4"],
    ]);
    const wanted = { path: "a.img", readOnly: true, snapshot: false, keys };
    expect(parseDisk("a.img,queues=4,addr=1f,ro,bus=rp0,id=root")).toEqual(wanted);
    expect(parseDisk("a.img,if=virtio,id=root,bus=rp0,ro,addr=1f,queues=4")).toEqual(wanted);
    expect(parseDisk("a,addr=3,b.img")).toEqual({ path: "a,addr=3,b.img", readOnly: false, snapshot: false });
    expect(errorOf(() => parseDisk("a,if=ide,addr=3"))).toEqual(["--disk: a disk with if=ide has no addr", 64]);
  });
  it("--cdrom names a disc, or none", () => {
    expect(parseCdrom("a,ro")).toEqual({ option: "--cdrom", path: "a,ro", readOnly: true, snapshot: false });
    expect(parseCdrom("none")).toBeNull();
    expect(errorOf(() => parseCdrom(""))).toEqual(['--cdrom: "" names no file', 64]);
  });
  it("reads the file, and leaves it alone until the guest flushes", () => {
    const { disks, images } = open(path);
    const [disk] = images;
    const into = new Uint8Array(100);
    disk!.read(5000, into, 0, 100);
    expect([...into]).toEqual([...original.subarray(5000, 5100)]);
    disk!.write(8190, Uint8Array.of(1, 2, 3, 4), 0, 4);
    expect([...file()]).toEqual([...original]);
    disk!.flush();
    expect([...file()]).toEqual([...changed(8190, [1, 2, 3, 4])]);
    disk!.write(0, Uint8Array.of(9), 0, 1);
    disks.finish(images);
    expect(file()[0]).toBe(9);
  });
  it("snapshot: the guest writes, the file stays as it is", () => {
    const { disks, images } = open(`${path},snapshot`);
    images[0]!.write(0, Uint8Array.of(9), 0, 1);
    images[0]!.flush();
    disks.finish(images);
    expect([images[0]!.readOnly, [...file()]]).toEqual([false, [...original]]);
  });
  it("ro: the guest is told that it cannot write", () => {
    expect(open(`${path},ro`).images[0]!.readOnly).toBe(true);
  });
  it("a file that was truncated meanwhile: one line and status 74, when it is read", () => {
    const { images } = open(path);
    truncateSync(path, 4096);
    const into = new Uint8Array(512);
    images[0]!.read(0, into, 0, 512);
    const failure = [`${path}: was truncated while the machine ran`, 74];
    expect(errorOf(() => images[0]!.read(4000, into, 0, 512))).toEqual(failure);
  });
  it("and when it is written back; what the guest wrote is in it all the same", () => {
    const { disks, images } = open(path);
    images[0]!.write(0, new Uint8Array(4096).fill(7), 0, 4096);
    truncateSync(path, 100);
    expect(errorOf(() => disks.finish(images))).toEqual([`${path}: was truncated while the machine ran`, 74]);
    expect([...file()]).toEqual(new Array(4096).fill(7));
  });
  it("every disk is written back, even if one before it fails", () => {
    const other = join(folder, "other.img");
    writeFileSync(other, original);
    const { disks, images } = open(other, path);
    for (const image of images) image.write(0, new Uint8Array(4096).fill(7), 0, 4096);
    truncateSync(other, 100);
    expect(errorOf(() => disks.finish(images))[1]).toBe(74);
    expect(file()[0]).toBe(7);
  });
  it("refuses what is no disk", () => {
    const small = join(folder, "small");
    writeFileSync(small, "x");
    mkdirSync(join(folder, "folder"));
    expect(errorOf(() => open(join(folder, "none")))).toEqual([`${folder}/none: no such file or directory`, 66]);
    expect(errorOf(() => open(`${folder}/folder`))).toEqual([`${folder}/folder: is a directory`, 66]);
    expect(errorOf(() => open(`${folder}/folder,ro`))).toEqual([`${folder}/folder: is a directory`, 66]);
    expect(errorOf(() => open("/dev/null"))).toEqual(["/dev/null: is no ordinary file", 66]);
    expect(errorOf(() => open(small))).toEqual([`${small}: has 1 bytes, a disk has at least 512`, 66]);
  });
  it("refuses one file twice, by whatever name", () => {
    const link = join(folder, "link");
    symlinkSync(path, link);
    expect(errorOf(() => open(path, `${link},ro`))).toEqual([`--disk: ${link} is given twice`, 64]);
  });
  it("says which files are read and which are written", () => {
    expect(diskFiles(["a", "b,ro", "c,snapshot"].map(parseDisk))).toEqual({
      read: [
        ["--disk", "b"],
        ["--disk", "c"],
      ],
      written: [["--disk", "a"]],
    });
  });
});
