/**
 * One processor's way to physical memory and ports, through the A20 gate, with trace events. RAM it reaches directly once `lookup` said where it is.
 */
import { MIB, PAGE, type PhysAddr } from "../base/units.ts";
import type { CpuBus } from "../ports/cpu-bus.ts";
import { EVENT } from "../ports/events.ts";
import type { Trace } from "../sim/trace.ts";
import type { AddressSpace } from "./address-space.ts";
import type { PortSpace } from "./port-space.ts";

export class CpuBusPort implements CpuBus {
  readonly #cpu: number;
  readonly #space: AddressSpace;
  readonly #ports: PortSpace;
  readonly #trace: Trace;
  readonly #wants: Uint8Array;

  /** @param cpu index, the subject of the trace events */
  constructor(cpu: number, space: AddressSpace, ports: PortSpace, trace: Trace) {
    this.#cpu = cpu;
    this.#space = space;
    this.#ports = ports;
    this.#trace = trace;
    this.#wants = trace.wants;
  }

  get generation(): number {
    return this.#space.generation;
  }

  get plainRamEnd(): number {
    return this.#space.a20 ? this.#space.plainEnd(MIB) : 0;
  }

  get pageOffset(): number {
    return this.#space.pageOffset;
  }

  lookup(page: number): number {
    return this.#space.lookup(this.#space.a20 ? page : this.#space.throughA20(page * PAGE) / PAGE);
  }

  read(address: PhysAddr, width: number): number {
    const behind = this.#space.throughA20(address);
    const value = this.#space.read(behind, width);
    if (this.#wants[EVENT.mmioRead] !== 0) this.#trace.emit(EVENT.mmioRead, this.#cpu, behind, width, value, 0);
    return value;
  }

  write(address: PhysAddr, width: number, value: number): void {
    const behind = this.#space.throughA20(address);
    if (this.#wants[EVENT.mmioWrite] !== 0) this.#trace.emit(EVENT.mmioWrite, this.#cpu, behind, width, value, 0);
    this.#space.write(behind, width, value);
  }

  portRead(port: number, width: number): number {
    const value = this.#ports.read(port, width);
    if (this.#wants[EVENT.portRead] !== 0) this.#trace.emit(EVENT.portRead, this.#cpu, port, width, value, 0);
    return value;
  }

  portWrite(port: number, width: number, value: number): void {
    if (this.#wants[EVENT.portWrite] !== 0) this.#trace.emit(EVENT.portWrite, this.#cpu, port, width, value, 0);
    this.#ports.write(port, width, value);
  }
}
