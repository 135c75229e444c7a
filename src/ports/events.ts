/**
 * The catalogue of trace events: what a kind is called, whom it is about, what its numbers mean. Text logs, the Perfetto exporter and the report read
 * this table; parts emit with `trace.emit(EVENT.x, subject, a, b, c, cause)`.
 */

/** How a number of an event is shown. */
export type EventField = { readonly name: string; readonly as: "dec" | "hex" | "flag" | "deliveryMode" | "exitReason" };
/** Whom the subject number names: a CPU by index, a line by the board's line number, an I/O APIC pin, a 8259 input, a part. */
export type EventSubject = "cpu" | "line" | "pin" | "irq" | "device";
export type EventInfo = {
  readonly kind: number;
  /** As typed after `--log`: the group, then the event. */
  readonly group: "line" | "irq" | "exc" | "ipi" | "mmio" | "pio" | "cpu" | "msr" | "dma";
  readonly name: string;
  readonly subject: EventSubject;
  readonly fields: readonly EventField[];
};

const dec = (name: string): EventField => ({ name, as: "dec" });
const hex = (name: string): EventField => ({ name, as: "hex" });
const flag = (name: string): EventField => ({ name, as: "flag" });
const mode = (name: string): EventField => ({ name, as: "deliveryMode" });

export const EVENT = {
  /** A line (see {@link EventInfo.subject}) changed its level. */
  lineLevel: 1,
  /** An 8259 input became requested (its IRR bit was set). Subject: irq 0-15. */
  picRequest: 2,
  /** An acknowledge cycle of the 8259 pair gave a vector. */
  picAck: 3,
  /** An 8259 EOI command cleared an ISR bit. */
  picEoi: 4,
  /** An I/O APIC pin sent its message. */
  ioapicSend: 5,
  /** A device's message (MSI) was decoded at 0xFEExxxxx. */
  msi: 6,
  /** A local APIC accepted a message into its IRR. c: 1 when the bit was set already (coalesced). */
  lapicAccept: 7,
  /** A local APIC's EOI register was written. a: vector, or -1 when nothing was in service. */
  lapicEoi: 8,
  /** An EOI reached an I/O APIC pin. a: vector, b: 1 when the pin is sent again because the line is still high. */
  ioapicEoi: 9,
  /** A local interrupt source (LVT entry) fired. a: LVT index (0 CMCI, 1 timer, 2 thermal, 3 perf, 4 LINT0, 5 LINT1, 6 error). */
  lvtFire: 10,
  /** A CPU wrote its ICR. a: vector, b: delivery mode, c: destination. */
  ipiSend: 11,
  /** A local APIC recorded an error. a: ESR bits. */
  lapicError: 12,
  /** A CPU takes an external interrupt. a: vector, b: 1 when it came by ExtINT from the 8259, c: 1 when it is spurious. */
  interrupt: 16,
  /** A CPU takes an NMI. */
  nmi: 17,
  /** A CPU raises an exception. a: vector, b: error code, c: RIP. */
  exception: 18,
  /** INT n, INT3, INTO, INT1. a: vector. */
  softwareInterrupt: 19,
  /** IRET completed. */
  iret: 20,
  /** HLT or MWAIT: the CPU stops. */
  halt: 21,
  /** A halted CPU goes on. */
  wake: 22,
  init: 23,
  sipi: 24,
  smi: 25,
  /** The CPU shut down after a triple fault. */
  shutdown: 26,
  /** Privilege or mode changed. a: CPL. */
  cpl: 27,
  mmioRead: 32,
  mmioWrite: 33,
  portRead: 34,
  portWrite: 35,
  msrRead: 36,
  msrWrite: 37,
  /** A bus master read memory. a: address on the bus, b: bytes, c: status ({@link BUS_STATUS} of initiator.ts). */
  dmaRead: 48,
  /** A bus master wrote memory; messages are no DMA. */
  dmaWrite: 49,
  /** Software told a device that work waits. a: queue or channel, b: value written. */
  doorbell: 50,
  /** A device took a descriptor. a: queue or channel, b: address of the descriptor, c: bytes that it describes. */
  descriptor: 51,
  /** A device finished a descriptor or a transfer. a: queue or channel, b: bytes moved, c: 0 or the device's error code. */
  completion: 52,
  /** Remapping hardware walked its tables. a: address, b: domain, c: {@link ACCESS} bits of dma-remap.ts. Subjects are requester ids. */
  iommuMiss: 56,
  /** Remapping hardware refused a request. a: address (0xFEE00000 for interrupts), b: fault reason, c: as above. */
  iommuFault: 57,
  /** Software had something invalidated. No subject. a: low byte of the descriptor (type in bits 3:0), b: domain, c: address or requester. */
  iommuInvalidate: 58,
  /** An interrupt was remapped. a: index in the table, b: vector, c: destination. */
  irqRemap: 59,
  /** An interrupt was posted. a: index in the table, b: virtual vector, c: 1 when a notification was sent. */
  irqPost: 60,
} as const;

/** All kinds, by number of declaration. */
export const EVENTS: readonly EventInfo[] = [
  { kind: EVENT.lineLevel, group: "line", name: "line", subject: "line", fields: [dec("level")] },
  { kind: EVENT.picRequest, group: "irq", name: "pic-request", subject: "irq", fields: [] },
  { kind: EVENT.picAck, group: "irq", name: "pic-ack", subject: "irq", fields: [hex("vector"), flag("spurious")] },
  { kind: EVENT.picEoi, group: "irq", name: "pic-eoi", subject: "irq", fields: [] },
  {
    kind: EVENT.ioapicSend,
    group: "irq",
    name: "ioapic-send",
    subject: "pin",
    fields: [hex("vector"), mode("mode"), hex("destination")],
  },
  {
    kind: EVENT.msi,
    group: "irq",
    name: "msi",
    subject: "device",
    fields: [hex("vector"), mode("mode"), hex("destination")],
  },
  {
    kind: EVENT.lapicAccept,
    group: "irq",
    name: "lapic-accept",
    subject: "cpu",
    fields: [hex("vector"), flag("level"), flag("coalesced")],
  },
  { kind: EVENT.lapicEoi, group: "irq", name: "eoi", subject: "cpu", fields: [hex("vector")] },
  { kind: EVENT.ioapicEoi, group: "irq", name: "ioapic-eoi", subject: "pin", fields: [hex("vector"), flag("again")] },
  {
    kind: EVENT.lvtFire,
    group: "irq",
    name: "lvt",
    subject: "cpu",
    fields: [dec("entry"), hex("vector"), mode("mode")],
  },
  {
    kind: EVENT.ipiSend,
    group: "ipi",
    name: "ipi",
    subject: "cpu",
    fields: [hex("vector"), mode("mode"), hex("destination")],
  },
  { kind: EVENT.lapicError, group: "irq", name: "apic-error", subject: "cpu", fields: [hex("esr")] },
  {
    kind: EVENT.interrupt,
    group: "irq",
    name: "interrupt",
    subject: "cpu",
    fields: [hex("vector"), flag("extint"), flag("spurious")],
  },
  { kind: EVENT.nmi, group: "irq", name: "nmi", subject: "cpu", fields: [] },
  {
    kind: EVENT.exception,
    group: "exc",
    name: "exception",
    subject: "cpu",
    fields: [hex("vector"), hex("error"), hex("rip")],
  },
  { kind: EVENT.softwareInterrupt, group: "exc", name: "int", subject: "cpu", fields: [hex("vector")] },
  { kind: EVENT.iret, group: "irq", name: "iret", subject: "cpu", fields: [dec("cpl")] },
  { kind: EVENT.halt, group: "cpu", name: "halt", subject: "cpu", fields: [] },
  { kind: EVENT.wake, group: "cpu", name: "wake", subject: "cpu", fields: [] },
  { kind: EVENT.init, group: "ipi", name: "init", subject: "cpu", fields: [] },
  { kind: EVENT.sipi, group: "ipi", name: "sipi", subject: "cpu", fields: [hex("vector")] },
  { kind: EVENT.smi, group: "ipi", name: "smi", subject: "cpu", fields: [] },
  { kind: EVENT.shutdown, group: "cpu", name: "shutdown", subject: "cpu", fields: [hex("rip")] },
  { kind: EVENT.cpl, group: "cpu", name: "cpl", subject: "cpu", fields: [dec("cpl")] },
  {
    kind: EVENT.mmioRead,
    group: "mmio",
    name: "mmio-read",
    subject: "cpu",
    fields: [hex("address"), dec("size"), hex("value")],
  },
  {
    kind: EVENT.mmioWrite,
    group: "mmio",
    name: "mmio-write",
    subject: "cpu",
    fields: [hex("address"), dec("size"), hex("value")],
  },
  { kind: EVENT.portRead, group: "pio", name: "in", subject: "cpu", fields: [hex("port"), dec("size"), hex("value")] },
  {
    kind: EVENT.portWrite,
    group: "pio",
    name: "out",
    subject: "cpu",
    fields: [hex("port"), dec("size"), hex("value")],
  },
  { kind: EVENT.msrRead, group: "msr", name: "rdmsr", subject: "cpu", fields: [hex("msr"), hex("low"), hex("high")] },
  { kind: EVENT.msrWrite, group: "msr", name: "wrmsr", subject: "cpu", fields: [hex("msr"), hex("low"), hex("high")] },
  {
    kind: EVENT.dmaRead,
    group: "dma",
    name: "dma-read",
    subject: "device",
    fields: [hex("address"), dec("bytes"), dec("status")],
  },
  {
    kind: EVENT.dmaWrite,
    group: "dma",
    name: "dma-write",
    subject: "device",
    fields: [hex("address"), dec("bytes"), dec("status")],
  },
  { kind: EVENT.doorbell, group: "dma", name: "doorbell", subject: "device", fields: [dec("queue"), hex("value")] },
  {
    kind: EVENT.descriptor,
    group: "dma",
    name: "descriptor",
    subject: "device",
    fields: [dec("queue"), hex("address"), dec("bytes")],
  },
  {
    kind: EVENT.completion,
    group: "dma",
    name: "completion",
    subject: "device",
    fields: [dec("queue"), dec("bytes"), hex("error")],
  },
  {
    kind: EVENT.iommuMiss,
    group: "dma",
    name: "iommu-miss",
    subject: "device",
    fields: [hex("address"), dec("domain"), hex("access")],
  },
  {
    kind: EVENT.iommuFault,
    group: "dma",
    name: "iommu-fault",
    subject: "device",
    fields: [hex("address"), hex("reason"), hex("access")],
  },
  {
    kind: EVENT.iommuInvalidate,
    group: "dma",
    name: "iommu-invalidate",
    subject: "device",
    fields: [hex("request"), dec("domain"), hex("address")],
  },
  {
    kind: EVENT.irqRemap,
    group: "irq",
    name: "irq-remap",
    subject: "device",
    fields: [dec("index"), hex("vector"), hex("destination")],
  },
  {
    kind: EVENT.irqPost,
    group: "irq",
    name: "irq-post",
    subject: "device",
    fields: [dec("index"), hex("vector"), flag("notified")],
  },
];
