/**
 * What a kernel knows of an interrupt: the document's `interrupt_descriptor_t`, with what its handler is given and how often it ran.
 */
import type { Ns, Vector } from "../base/units.ts";
import type { Task } from "../ports/task.ts";

/** The document's `interrupt_type_t`. */
export const INTERRUPT_TYPE = { external: 0, internal: 1, software: 2, nmi: 3 } as const;
export type InterruptType = (typeof INTERRUPT_TYPE)[keyof typeof INTERRUPT_TYPE];
export const INTERRUPT_TYPE_NAMES = ["external", "internal", "software", "NMI"] as const;

/** The document's `interrupt_priority_t`. On hardware the priority of an external interrupt is its vector's upper four bits (vectors.ts). */
export const INTERRUPT_PRIORITY = { low: 0, normal: 1, high: 2, critical: 3 } as const;
export type InterruptPriority = (typeof INTERRUPT_PRIORITY)[keyof typeof INTERRUPT_PRIORITY];

/** What a handler is told. */
export type InterruptContext = {
  readonly cpu: number;
  readonly vector: Vector;
  /** 0 when the vector has none. */
  readonly errorCode: number;
  /** Address of the frame that the processor pushed: RIP, CS, RFLAGS, RSP, SS, 8 bytes each. */
  readonly frame: number;
  /** Address of the registers that the entry code pushed: R15 first, RAX last, without RSP. */
  readonly registers: number;
};

/** False from a handler of a shared interrupt: "not my device". */
export type Handler = (context: InterruptContext) => Task<boolean> | Task<void>;

export type InterruptStatistics = {
  count: number;
  /** Time in the handler, interruptions by others included. */
  handlerNs: Ns;
  longestNs: Ns;
  /** Nobody of those who share the vector wanted it. */
  unclaimed: number;
};

export type InterruptDescriptor = {
  readonly number: Vector;
  readonly type: InterruptType;
  readonly priority: InterruptPriority;
  readonly handler: Handler;
  /** False: NMI and exceptions. */
  readonly maskable: boolean;
  readonly edgeTriggered: boolean;
  readonly deviceId: number;
  readonly description: string;
  /** Interrupts of higher classes are taken while the handler runs. True for maskable ones unless said otherwise. */
  readonly nested: boolean;
  /** The controller that wants an EOI. */
  readonly controller: "local-apic" | "8259" | "none";
  readonly statistics: InterruptStatistics;
};

/** What has to be said; the rest follows from the number. */
export type DescriptorInit = Pick<InterruptDescriptor, "number" | "handler"> &
  Partial<Omit<InterruptDescriptor, "number" | "handler" | "statistics">>;

export const VECTORS = 256;
/** Vectors below this are the processor's own (Intel SDM vol. 3A, table 6-1). */
export const FIRST_EXTERNAL = 32;
export const NMI_VECTOR = 2;
/** Vectors with an error code: #DF, #TS, #NP, #SS, #GP, #PF, #AC, #CP (same table). */
const WITH_ERROR_CODE = new Set([8, 10, 11, 12, 13, 14, 17, 21]);
export const hasErrorCode = (vector: Vector): boolean => WITH_ERROR_CODE.has(vector);

/** The document returns silently here; a number that is no vector is the caller's mistake. */
export function checkVector(vector: number): void {
  if (!Number.isInteger(vector) || vector < 0 || vector >= VECTORS)
    throw new RangeError(`interrupt number ${vector}: must be 0 to ${VECTORS - 1}`);
}

/** The type that a vector has by its number. Software interrupts are those that a descriptor says so of. */
export function typeOf(vector: Vector): InterruptType {
  if (vector === NMI_VECTOR) return INTERRUPT_TYPE.nmi;
  return vector < FIRST_EXTERNAL ? INTERRUPT_TYPE.internal : INTERRUPT_TYPE.external;
}

export const newStatistics = (): InterruptStatistics => ({ count: 0, handlerNs: 0, longestNs: 0, unclaimed: 0 });

/** Throws RangeError for a number that is no vector. */
export function describeInterrupt(init: DescriptorInit): InterruptDescriptor {
  checkVector(init.number);
  const type = init.type ?? typeOf(init.number);
  const maskable = init.maskable ?? type === INTERRUPT_TYPE.external;
  return {
    type,
    priority: INTERRUPT_PRIORITY.normal,
    maskable,
    edgeTriggered: true,
    deviceId: 0,
    description: `vector 0x${init.number.toString(16)}`,
    nested: maskable,
    controller: type === INTERRUPT_TYPE.external ? "local-apic" : "none",
    ...init,
    statistics: newStatistics(),
  };
}
