/** Test support: a few local APICs on a fabric, with CPUs that only note what they are told. Not part of the product. */
import type { Vector } from "../base/units.ts";
import type { CpuSignals, IntAck, TimestampCounter } from "../ports/cpu-port.ts";
import { InterruptMessage } from "../ports/message.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import { Trace } from "../sim/trace.ts";
import { ApicFabric } from "./apic-fabric.ts";
import { LocalApic } from "./lapic.ts";
import type { LapicOptions } from "./lapic-core.ts";

/** A CPU's interrupt pins. */
export class NotedSignals implements CpuSignals {
  level = false;
  edges = 0;
  readonly events: string[] = [];
  intr(level: boolean): void {
    this.level = level;
    this.edges++;
  }
  nmi(): void {
    this.events.push("nmi");
  }
  smi(): void {
    this.events.push("smi");
  }
  init(): void {
    this.events.push("init");
  }
  startup(vector: Vector): void {
    this.events.push(`startup ${vector}`);
  }
  /** All that was told so far. */
  get count(): number {
    return this.edges + this.events.length;
  }
}

/** An 8259 pair that always has the same vector. */
export class FixedExtInt implements IntAck {
  vector = 0x99;
  lastSpurious = false;
  lastCause = 0;
  acknowledged = 0;
  acknowledge(): Vector {
    this.acknowledged++;
    return this.vector;
  }
}

/** Two TSC ticks per nanosecond. */
export const TICKS_PER_NS = 2;

export class ApicRig {
  readonly clock = new Clock();
  readonly queue = new EventQueue(this.clock);
  readonly trace = new Trace(this.clock);
  readonly fabric = new ApicFabric();
  readonly extInt = new FixedExtInt();
  readonly lapics: LocalApic[] = [];
  readonly signals: NotedSignals[] = [];
  readonly eois: number[] = [];
  tscOffset = 0;

  constructor(count = 1, options: Partial<LapicOptions> = {}, ids: readonly number[] = [0, 1, 2, 3]) {
    const tsc: TimestampCounter = {
      nsUntil: (low, high) =>
        Math.ceil((high * 0x1_0000_0000 + low - this.tscOffset) / TICKS_PER_NS) - this.clock.now(),
    };
    for (let index = 0; index < count; index++) {
      const signals = new NotedSignals();
      const lapic = new LocalApic({
        index,
        apicId: ids[index]!,
        bsp: index === 0,
        queue: this.queue,
        trace: this.trace,
        signals,
        tsc,
        bus: this.fabric,
        extInt: this.extInt,
        ...options,
      });
      this.fabric.attach(lapic);
      this.lapics.push(lapic);
      this.signals.push(signals);
    }
    this.fabric.attachEoiListener({ endOfInterrupt: vector => void this.eois.push(vector) });
  }

  /** Lets time pass, running what falls due. */
  pass(ns: number): void {
    const target = this.clock.now() + ns;
    while (this.queue.nextDeadline() <= target) {
      this.clock.advanceTo(Math.max(this.clock.now(), this.queue.nextDeadline()));
      this.queue.runDue();
    }
    this.clock.advanceTo(target);
  }
}

/** A message with the given fields. */
export const messageOf = (fields: Partial<InterruptMessage>): InterruptMessage =>
  Object.assign(new InterruptMessage(), fields);
