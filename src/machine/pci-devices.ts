/**
 * The functions that a user can add: `--device NAME[,key=value…]`. A row per device says its keys and makes it.
 */
import { HostError } from "../base/assert.ts";
import { Edu } from "../devices/edu.ts";
import { Ioat } from "../devices/ioat.ts";
import { VirtioBlock } from "../devices/virtio/virtio-blk.ts";
import { VirtioConsole } from "../devices/virtio/virtio-console.ts";
import { VirtioNet } from "../devices/virtio/virtio-net.ts";
import { VirtioRng } from "../devices/virtio/virtio-rng.ts";
import type { BlockMedium } from "../ports/block.ts";
import type { Part } from "../ports/part.ts";
import type { PciSlot } from "../pci/function.ts";
import type { EventQueue } from "../sim/event-queue.ts";
import { Rng } from "../sim/rng.ts";
import type { IdeBoard } from "./ide-board.ts";
import { LINK_KEYS, type Networks } from "./networks.ts";

/** `bus` (id of a root port), `addr` (device number in hexadecimal) and `id` are for all devices. */
export type DeviceSpec = { readonly name: string; readonly keys: ReadonlyMap<string, string> };

export const ROOT_PORT = "root-port";
const COMMON_KEYS = ["id", "bus", "addr"];
const USAGE = 64;

/** What the board has for devices. */
export type DeviceWorld = {
  readonly queue: EventQueue;
  /** Of generators that devices have of their own. */
  readonly seed: number;
  /** Where a console's characters go. */
  readonly onOutput: (byte: number) => void;
  /** A console asks for the user's keys. */
  readonly takeKeys: (type: (bytes: Iterable<number>) => void) => void;
  /** Where network interfaces get their links. */
  readonly networks: Networks;
  /** Drives for an IDE controller. */
  readonly ide: IdeBoard;
};

type Row = {
  readonly keys: readonly string[];
  readonly make: (slot: PciSlot, keys: ReadonlyMap<string, string>, world: DeviceWorld) => Part;
};

const ROWS: { readonly [name: string]: Row } = {
  edu: {
    keys: ["dma_mask"],
    make: (slot, keys, { queue }) => {
      const mask = keys.get("dma_mask");
      return new Edu(slot, { queue, ...(mask === undefined ? {} : { dmaMask: numberOf("dma_mask", mask) }) });
    },
  },
  ioat: {
    keys: ["channels"],
    make: (slot, keys, { queue }) => {
      const channels = keys.get("channels");
      return new Ioat(slot, { queue, ...(channels === undefined ? {} : { channels: numberOf("channels", channels) }) });
    },
  },
  "piix-ide": {
    keys: ["disk", "cd"],
    make: (slot, keys, { ide }) => {
      const [disk, cd] = ["disk", "cd"].map(key => numberOf(key, keys.get(key) ?? "0"));
      return ide.make(slot, disk!, cd!);
    },
  },
  "virtio-console": {
    keys: ["input"],
    make: (slot, keys, { queue, onOutput, takeKeys }) => {
      const input = keys.get("input") ?? "off";
      if (input !== "on" && input !== "off") refuse(`device virtio-console: input=${input} is neither on nor off`);
      const made = new VirtioConsole(slot, { events: queue, onOutput });
      if (input === "on") takeKeys(bytes => made.receive(bytes));
      return made;
    },
  },
  "virtio-net": {
    keys: LINK_KEYS,
    make: (slot, keys, { queue, networks }) => {
      const { port, mac, mtu } = networks.connect(slot.name, keys);
      return new VirtioNet(slot, { queue, port, mac, ...(mtu === undefined ? {} : { mtu }) });
    },
  },
  "virtio-rng": {
    keys: [],
    make: (slot, _, { queue, seed }) => new VirtioRng(slot, { events: queue, rng: new Rng(seed).split(slot.name) }),
  },
};

/** What can stand behind `--device`. */
export const DEVICE_NAMES: readonly string[] = [ROOT_PORT, ...Object.keys(ROWS)];

const refuse = (text: string): never => {
  throw new HostError(text, USAGE);
};

function numberOf(key: string, text: string): number {
  const value = /^(0x[0-9a-f]+|[0-9]+)$/i.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(value) ? value : refuse(`device: ${key}=${text} is no number below 2^53`);
}

/** What `--device` says. Throws {@link HostError} with status 64. */
export function parseDevice(text: string): DeviceSpec {
  const [name = "", ...rest] = text.split(",");
  const known = name === ROOT_PORT ? [] : ROWS[name]?.keys;
  if (known === undefined) return refuse(`no device is called "${name}": there are ${DEVICE_NAMES.join(", ")}`);
  const keys = new Map<string, string>();
  for (const item of rest) {
    const [key = "", value] = item.split("=", 2);
    if (value === undefined || value === "") refuse(`device ${name}: write ${key || "key"}=value`);
    if (!known.includes(key) && !COMMON_KEYS.includes(key))
      refuse(`device ${name} has no ${key}: there are ${[...known, ...COMMON_KEYS].join(", ")}`);
    keys.set(key, value!);
  }
  return { name, keys };
}

/** The device number that `addr=` asks for; null when it is left out. */
export function addressOf({ name, keys }: DeviceSpec): number | null {
  const text = keys.get("addr");
  if (text === undefined) return null;
  const value = /^[0-9a-f]{1,2}$/i.test(text) ? Number.parseInt(text, 16) : -1;
  return value >= 0 && value < 32 ? value : refuse(`device ${name}: addr=${text} is no device number from 0 to 1f`);
}

export function makeDevice(spec: DeviceSpec, slot: PciSlot, world: DeviceWorld): Part {
  return ROWS[spec.name]!.make(slot, spec.keys, world);
}

/** One for each CPU that a machine can have. */
const MAX_DISK_QUEUES = 64;

/** The function of a disk: `--disk`. @param index from 0 */
export function makeDisk(
  medium: BlockMedium,
  index: number,
  slot: PciSlot,
  spec: DeviceSpec,
  world: DeviceWorld,
): Part {
  const queues = numberOf("queues", spec.keys.get("queues") ?? "1");
  if (queues < 1 || queues > MAX_DISK_QUEUES) refuse(`--disk: queues=${queues}: there can be 1 to ${MAX_DISK_QUEUES}`);
  return new VirtioBlock(slot, { events: world.queue, medium, serial: `iretq-disk${index}`, queues });
}
