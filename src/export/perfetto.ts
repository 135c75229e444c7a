/**
 * A run as a Perfetto trace, for ui.perfetto.dev: a track per line, controller, CPU and CPU's handlers, and a track per device and its queues; flows join what
 * raised an interrupt (a doorbell, a descriptor), its way and its EOI. Written as it happens, in chunks.
 *
 * Document: Perfetto's protos/perfetto/trace: trace.proto (Trace.packet), trace_packet.proto (TracePacket), track_event/track_descriptor.proto,
 * track_event/track_event.proto, interned_data/interned_data.proto. Only the field numbers below are used.
 */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { CauseId, Ns } from "../base/units.ts";
import { EVENT, EVENTS } from "../ports/events.ts";
import { BUS_STATUS, BUS_STATUS_NAMES } from "../ports/initiator.ts";
import { DELIVERY_NAMES } from "../ports/message.ts";
import type { TraceListener } from "../sim/trace.ts";
import { type EventNames, exceptionName, hexOf, LVT_NAMES } from "./names.ts";

const TRACE = { packet: 1 } as const;
const PACKET = {
  timestamp: 8,
  sequenceId: 10,
  trackEvent: 11,
  internedData: 12,
  sequenceFlags: 13,
  descriptor: 60,
} as const;
const DESCRIPTOR = { uuid: 1, name: 2, parent: 5, childOrdering: 11, rank: 12 } as const;
const TRACK_EVENT = { annotations: 4, type: 9, nameIid: 10, track: 11, flows: 47, endingFlows: 48 } as const;
const ANNOTATION = { text: 6, name: 10 } as const;
const INTERNED = { eventNames: 2 } as const;
const EVENT_NAME = { iid: 1, name: 2 } as const;
const TYPE = { begin: 1, end: 2, instant: 3 } as const;
const SEQUENCE = { cleared: 1, needsState: 2 } as const;
const ORDERED = 3;
const SEQUENCE_ID = 1;
/** Bytes collected before they are handed on. */
const CHUNK = 1 << 16;
/** Chains of causes are remembered this far back; a power of two. */
const RING = 1 << 14;

/** Tracks: group × 4096 + number; groups are parents of their tracks. Devices are the last: requester ids have 16 bits. */
const GROUP = { lines: 1, pic: 2, ioapic: 3, lapic: 4, cpu: 5, handlers: 6, iommu: 7, devices: 8 } as const;
const GROUP_NAMES = ["", "Lines", "8259", "I/O APIC", "Local APICs", "CPUs", "Handlers", "IOMMU", "Devices"] as const;
const trackOf = (group: number, number: number): number => group * 4096 + number + 1;
/** Above all others: a device's queue or channel. */
const queueTrack = (device: number, queue: number): number => 2 ** 24 + device * 256 + (queue & 255);
const parentOf = (group: number): number => group * 4096;

export class PerfettoTrace implements TraceListener {
  /** The kinds that this listener wants: everything but single accesses. */
  static readonly KINDS: readonly number[] = EVENTS.filter(info => !["mmio", "pio", "msr"].includes(info.group)).map(
    info => info.kind,
  );

  readonly #names: EventNames;
  readonly #sink: (chunk: Uint8Array) => void;
  #writer = new BinaryWriter();
  #pending = 0;
  readonly #iids = new Map<string, number>();
  readonly #tracks = new Set<number>();
  /** First event of the chain that an id belongs to, by id modulo RING. */
  readonly #ids = new Float64Array(RING);
  readonly #roots = new Float64Array(RING);
  /** Chain that each vector of each CPU (or 8259 input) was last taken from: ends with its EOI. */
  readonly #served = new Map<number, CauseId>();
  readonly #depth = new Map<number, number>();
  readonly #halted = new Set<number>();
  /** Lines that have an open slice. */
  readonly #high = new Set<number>();

  /** @param sink gets the file's bytes piece by piece */
  constructor(names: EventNames, sink: (chunk: Uint8Array) => void) {
    this.#names = names;
    this.#sink = sink;
    this.#packet(w => w.tag(PACKET.sequenceFlags, WireType.Varint).uint32(SEQUENCE.cleared));
    for (let group = 1; group < GROUP_NAMES.length; group++)
      this.#describe(parentOf(group), GROUP_NAMES[group]!, 0, group);
  }

  /** Line `index` is high already when the trace begins. */
  highFromTheStart(index: number): void {
    this.#line(0, index, true, 0);
  }

  /** Hands on what is left. */
  finish(): void {
    this.#flush();
  }

  event(time: Ns, kind: number, subject: number, a: number, b: number, c: number, id: CauseId, cause: CauseId): void {
    const root = this.#rootOf(id, cause);
    switch (kind) {
      case EVENT.lineLevel:
        this.#line(time, subject, a !== 0, root);
        return;
      case EVENT.picRequest:
        this.#onPic(time, subject, "request", root, 0);
        return;
      case EVENT.picAck:
        this.#served.set(-1 - subject, root);
        this.#onPic(time, subject, `acknowledge ${hexOf(a)}`, root, 0);
        return;
      case EVENT.picEoi:
        this.#onPic(time, subject, "EOI", 0, this.#take(-1 - subject));
        return;
      case EVENT.ioapicSend:
      case EVENT.ioapicEoi: {
        this.#track(GROUP.ioapic, subject, `pin ${subject} ${this.#names.pin(subject)}`);
        const name = kind === EVENT.ioapicEoi ? `EOI ${hexOf(a)}` : `send ${hexOf(a)} ${DELIVERY_NAMES[b] ?? ""}`;
        this.#write(time, TYPE.instant, trackOf(GROUP.ioapic, subject), name, root, 0);
        return;
      }
      case EVENT.msi:
        this.#device(subject);
        this.#write(time, TYPE.instant, trackOf(GROUP.devices, subject), `message ${hexOf(a)}`, root, 0);
        return;
      case EVENT.dmaRead:
      case EVENT.dmaWrite:
        this.#transfer(time, kind, subject, a, b, c, root);
        return;
      case EVENT.doorbell:
        this.#onQueue(time, subject, a, `doorbell ${hexOf(b)}`, root);
        return;
      case EVENT.descriptor:
        this.#onQueue(time, subject, a, `descriptor ${hexOf(b)}, ${c} bytes`, root);
        return;
      case EVENT.completion:
        this.#onQueue(time, subject, a, c === 0 ? `done, ${b} bytes` : `failed with ${hexOf(c)}`, root);
        return;
      case EVENT.iommuMiss:
      case EVENT.iommuFault:
      case EVENT.irqRemap:
      case EVENT.irqPost:
        this.#remapping(time, kind, subject, a, b, root);
        return;
      case EVENT.iommuInvalidate:
        this.#track(GROUP.iommu, 0, "invalidations");
        this.#write(time, TYPE.instant, trackOf(GROUP.iommu, 0), `invalidate ${hexOf(a)}`, root, 0, [
          ["domain", String(b)],
          ["address", hexOf(c)],
        ]);
        return;
      default:
        this.#onCpu(time, kind, subject, a, b, c, root);
        return;
    }
  }

  /** What remapping hardware did with a device's request, on the track of the device. */
  #remapping(time: Ns, kind: number, device: number, a: number, b: number, flow: CauseId): void {
    this.#device(device);
    const track = trackOf(GROUP.devices, device);
    const instant = (name: string, ...details: [string, string][]): void =>
      this.#write(time, TYPE.instant, track, name, flow, 0, details);
    if (kind === EVENT.iommuMiss) instant("IOTLB miss", ["address", hexOf(a)], ["domain", String(b)]);
    else if (kind === EVENT.iommuFault) instant(`IOMMU fault ${hexOf(b)}`, ["address", hexOf(a)]);
    else instant(`${kind === EVENT.irqPost ? "posted" : "remapped to"} ${hexOf(b)}`, ["index", String(a)]);
  }

  #line(time: Ns, index: number, high: boolean, flow: CauseId): void {
    this.#track(GROUP.lines, index, this.#names.line(index));
    const track = trackOf(GROUP.lines, index);
    if (high) {
      this.#high.add(index);
      this.#write(time, TYPE.begin, track, "high", flow, 0);
    } else if (this.#high.delete(index)) this.#write(time, TYPE.end, track, "", 0, 0);
  }

  #onPic(time: Ns, irq: number, name: string, flow: CauseId, ending: CauseId): void {
    this.#track(GROUP.pic, irq, `irq ${irq} ${this.#names.irq(irq)}`);
    this.#write(time, TYPE.instant, trackOf(GROUP.pic, irq), name, flow, ending);
  }

  #device(requester: number): void {
    if (this.#tracks.has(trackOf(GROUP.devices, requester))) return;
    this.#track(GROUP.devices, requester, this.#names.device(requester));
  }

  /** One access of a bus master, on the track of its device. */
  #transfer(
    time: Ns,
    kind: number,
    device: number,
    address: number,
    bytes: number,
    status: number,
    flow: CauseId,
  ): void {
    this.#device(device);
    const done = status === BUS_STATUS.ok ? "" : ` ${BUS_STATUS_NAMES[status] ?? "failed"}`;
    const name = `${kind === EVENT.dmaRead ? "read" : "write"}${done}`;
    this.#write(time, TYPE.instant, trackOf(GROUP.devices, device), name, flow, 0, [
      ["address", hexOf(address)],
      ["bytes", String(bytes)],
    ]);
  }

  #onQueue(time: Ns, device: number, queue: number, name: string, flow: CauseId): void {
    this.#device(device);
    const track = queueTrack(device, queue);
    if (!this.#tracks.has(track)) {
      this.#tracks.add(track);
      this.#describe(track, `queue ${queue}`, trackOf(GROUP.devices, device), queue);
    }
    this.#write(time, TYPE.instant, track, name, flow, 0);
  }

  #onCpu(time: Ns, kind: number, cpu: number, a: number, b: number, c: number, root: CauseId): void {
    const lapic = trackOf(GROUP.lapic, cpu);
    const self = trackOf(GROUP.cpu, cpu);
    this.#track(GROUP.lapic, cpu, `local APIC ${cpu}`);
    this.#track(GROUP.cpu, cpu, `CPU ${cpu}`);
    switch (kind) {
      case EVENT.lapicAccept:
        this.#write(time, TYPE.instant, lapic, `accept ${hexOf(a)}${c !== 0 ? " (coalesced)" : ""}`, root, 0);
        return;
      case EVENT.lapicEoi:
        this.#write(
          time,
          TYPE.instant,
          lapic,
          a < 0 ? "EOI of nothing" : `EOI ${hexOf(a)}`,
          0,
          this.#take(cpu * 256 + a),
        );
        return;
      case EVENT.lvtFire:
        this.#write(time, TYPE.instant, lapic, `${LVT_NAMES[a] ?? "LVT"} ${hexOf(b)}`, root, 0);
        return;
      case EVENT.ipiSend:
        this.#write(time, TYPE.instant, lapic, `IPI ${hexOf(a)} ${DELIVERY_NAMES[b] ?? ""} to ${hexOf(c)}`, root, 0);
        return;
      case EVENT.lapicError:
        this.#write(time, TYPE.instant, lapic, `error ${hexOf(a)}`, root, 0);
        return;
      case EVENT.interrupt:
        if (b === 0) this.#served.set(cpu * 256 + a, root);
        this.#enter(time, cpu, c !== 0 ? `spurious ${hexOf(a)}` : `vector ${hexOf(a)}`, root);
        return;
      case EVENT.nmi:
        this.#enter(time, cpu, "NMI", root);
        return;
      case EVENT.exception:
        this.#enter(time, cpu, exceptionName(a), 0, b, c);
        return;
      case EVENT.softwareInterrupt:
        this.#enter(time, cpu, `INT ${hexOf(a)}`, 0);
        return;
      case EVENT.iret:
        this.#leave(time, cpu);
        return;
      case EVENT.halt:
        this.#halted.add(cpu);
        this.#write(time, TYPE.begin, self, "halted", 0, 0);
        return;
      case EVENT.wake:
        if (this.#halted.delete(cpu)) this.#write(time, TYPE.end, self, "", 0, 0);
        return;
      default: {
        const info = EVENTS.find(candidate => candidate.kind === kind);
        this.#write(time, TYPE.instant, self, info?.name ?? `event ${kind}`, root, 0);
        return;
      }
    }
  }

  #enter(time: Ns, cpu: number, name: string, flow: CauseId, error = -1, rip = 0): void {
    this.#track(GROUP.handlers, cpu, `CPU ${cpu} handlers`);
    this.#depth.set(cpu, (this.#depth.get(cpu) ?? 0) + 1);
    const details: [string, string][] = [];
    if (error >= 0) details.push(["error code", hexOf(error)]);
    if (rip !== 0) details.push(["rip", hexOf(rip)]);
    this.#write(time, TYPE.begin, trackOf(GROUP.handlers, cpu), name, flow, 0, details);
  }

  #leave(time: Ns, cpu: number): void {
    const depth = this.#depth.get(cpu) ?? 0;
    if (depth === 0) return;
    this.#depth.set(cpu, depth - 1);
    this.#write(time, TYPE.end, trackOf(GROUP.handlers, cpu), "", 0, 0);
  }

  /** Flows are named after the first event of the chain. An EOI begins no chain. */
  #rootOf(id: CauseId, cause: CauseId): CauseId {
    const slot = cause & (RING - 1);
    const known = cause !== 0 && this.#ids[slot] === cause;
    const root = known ? this.#roots[slot]! : id;
    this.#ids[id & (RING - 1)] = id;
    this.#roots[id & (RING - 1)] = root;
    return root;
  }

  #take(key: number): CauseId {
    const root = this.#served.get(key) ?? 0;
    this.#served.delete(key);
    return root;
  }

  #track(group: number, number: number, name: string): void {
    const uuid = trackOf(group, number);
    if (this.#tracks.has(uuid)) return;
    this.#tracks.add(uuid);
    this.#describe(uuid, name, parentOf(group), number);
  }

  #describe(uuid: number, name: string, parent: number, rank: number): void {
    this.#packet(w => {
      w.tag(PACKET.descriptor, WireType.LengthDelimited).fork();
      w.tag(DESCRIPTOR.uuid, WireType.Varint).uint64(uuid);
      w.tag(DESCRIPTOR.name, WireType.LengthDelimited).string(name);
      if (parent !== 0) w.tag(DESCRIPTOR.parent, WireType.Varint).uint64(parent);
      w.tag(DESCRIPTOR.childOrdering, WireType.Varint).uint32(ORDERED);
      w.tag(DESCRIPTOR.rank, WireType.Varint).int32(rank);
      w.join();
    });
  }

  #write(
    time: Ns,
    type: number,
    track: number,
    name: string,
    flow: CauseId,
    ending: CauseId,
    details: readonly (readonly [name: string, text: string])[] = [],
  ): void {
    const known = name === "" || this.#iids.has(name);
    if (!known) this.#iids.set(name, this.#iids.size + 1);
    const iid = name === "" ? 0 : this.#iids.get(name)!;
    this.#packet(w => {
      w.tag(PACKET.timestamp, WireType.Varint).uint64(time);
      w.tag(PACKET.sequenceFlags, WireType.Varint).uint32(SEQUENCE.needsState);
      if (!known) {
        w.tag(PACKET.internedData, WireType.LengthDelimited).fork();
        w.tag(INTERNED.eventNames, WireType.LengthDelimited).fork();
        w.tag(EVENT_NAME.iid, WireType.Varint).uint64(iid);
        w.tag(EVENT_NAME.name, WireType.LengthDelimited).string(name);
        w.join().join();
      }
      w.tag(PACKET.trackEvent, WireType.LengthDelimited).fork();
      for (const [detail, text] of details) annotate(w, detail, text);
      w.tag(TRACK_EVENT.type, WireType.Varint).uint32(type);
      if (iid !== 0) w.tag(TRACK_EVENT.nameIid, WireType.Varint).uint64(iid);
      w.tag(TRACK_EVENT.track, WireType.Varint).uint64(track);
      if (flow !== 0) w.tag(TRACK_EVENT.flows, WireType.Bit64).fixed64(flow);
      if (ending !== 0) w.tag(TRACK_EVENT.endingFlows, WireType.Bit64).fixed64(ending);
      w.join();
    });
  }

  #packet(fill: (writer: BinaryWriter) => void): void {
    const w = this.#writer;
    w.tag(TRACE.packet, WireType.LengthDelimited).fork();
    w.tag(PACKET.sequenceId, WireType.Varint).uint32(SEQUENCE_ID);
    fill(w);
    w.join();
    // A packet has some 40 bytes.
    this.#pending += 40;
    if (this.#pending >= CHUNK) this.#flush();
  }

  #flush(): void {
    const bytes = this.#writer.finish();
    this.#writer = new BinaryWriter();
    this.#pending = 0;
    if (bytes.length > 0) this.#sink(bytes);
  }
}

function annotate(w: BinaryWriter, name: string, text: string): void {
  w.tag(TRACK_EVENT.annotations, WireType.LengthDelimited).fork();
  w.tag(ANNOTATION.name, WireType.LengthDelimited).string(name);
  w.tag(ANNOTATION.text, WireType.LengthDelimited).string(text);
  w.join();
}
