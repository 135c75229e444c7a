import { describe, expect, test } from "vitest";
import { HostError } from "../base/assert.ts";
import { MIB } from "../base/units.ts";
import { FakeProcessor } from "./fake-processor.ts";
import type { IdeOptions } from "./ide-board.ts";
import { Pc } from "./pc.ts";
import { parseDevice } from "./pci-devices.ts";

const bytes = new Uint8Array(512).fill(0x90);
bytes.set([0x55, 0xaa], 510);

function board(ide: IdeOptions, ...devices: string[]): Pc {
  return new Pc({
    ...{ cpus: 1, memory: 4 * MIB, image: { name: "sector", bytes, args: "" }, devices: devices.map(parseDevice), ide },
    makeProcessor: given => new FakeProcessor(given.index, () => {}, !given.bsp),
  });
}
const source = {
  name: "file",
  bytes: 8192,
  read: (_position: number, into: Uint8Array, offset: number, length: number) => into.fill(7, offset, offset + length),
};
/** What the signatures say of primary 0 and 1, secondary 0 and 1. */
function drives(pc: Pc): string[] {
  return [0x1f0, 0x170].flatMap(port =>
    [0xa0, 0xb0].map(device => {
      pc.ports.write(port + 6, 1, device);
      const [status, mid] = [pc.ports.read(port + 7, 1), pc.ports.read(port + 4, 1)];
      if (status === 0x50) return "disk";
      return mid === 0x14 ? "cd" : status === 0xff ? "no port" : "none";
    }),
  );
}
const errorOf = (act: () => unknown): unknown => {
  try {
    act();
  } catch (error) {
    return error instanceof HostError ? [error.message, error.status] : error;
  }
  return null;
};

describe("IDE on the board", () => {
  test("without drives and without --device piix-ide there is none", () => {
    expect(drives(board({}))).toEqual(["no port", "no port", "no port", "no port"]);
  });
  test("disks come first, CD-ROM drives from the secondary channel on; firmware lets both channels answer", () => {
    const cd = { source };
    expect(drives(board({ disks: [{ source }] }))).toEqual(["disk", "none", "none", "none"]);
    expect(drives(board({ disks: [{ source }], cdroms: [cd] }))).toEqual(["disk", "none", "cd", "none"]);
    expect(drives(board({ disks: [{ source }, { source }, { source }], cdroms: [null] }))).toEqual([
      ...["disk", "disk", "disk", "cd"],
    ]);
    expect(drives(board({ cdroms: [cd, null, cd] }))).toEqual(["none", "cd", "cd", "cd"]);
  });
  test("--device piix-ide has blank drives when asked to", () => {
    expect(drives(board({}, "piix-ide"))).toEqual(["none", "none", "none", "none"]);
    const pc = board({}, "piix-ide,disk=1048576,cd=0x10000");
    expect(drives(pc)).toEqual(["disk", "none", "cd", "none"]);
    expect(pc.pci.ide.images.map(image => [image.name, image.bytes, image.readOnly])).toEqual([
      ["ide disk 0", 1048576, false],
      ["ide disc 2", 65536, true],
    ]);
    expect(pc.parts).toContain(pc.pci.ide.images[0]);
  });
  test("five drives, a second controller and tiny disks are refused", () => {
    const five = { disks: [{ source }, { source }, { source }, { source }, { source }] };
    expect(errorOf(() => board(five))).toEqual(["IDE: there is room for 4 drives", 64]);
    const twice = ["device piix-ide: there can be one, its ports are fixed", 64];
    expect(errorOf(() => board({}, "piix-ide", "piix-ide"))).toEqual(twice);
    const tiny = ["device piix-ide: a disk has at least 512 bytes", 64];
    expect(errorOf(() => board({}, "piix-ide,disk=511"))).toEqual(tiny);
  });
});
