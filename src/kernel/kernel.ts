/**
 * The interrupt half of a kernel: brings up the CPUs (IDT, TSS, stacks, local APIC), and carries every interrupt from its gate to its handler and
 * back. Entry code saves registers on the present stack, as a kernel in assembly does; handlers of maskable interrupts run with interrupts on, and the local
 * APIC lets only higher classes through (nesting). The hardware keeps the in-service bits: a handler's EOI is all that software does about them.
 *
 * What kernel data lies in TypeScript objects changes between two operations at once, so handlers need no lock for it; what lies in memory does (SpinLock).
 */
import type { Ns, PhysAddr, Vector } from "../base/units.ts";
import { PageMap } from "../ports/page-map.ts";
import type { KernelMachine } from "../ports/kernel-machine.ts";
import {
  cli,
  GPR,
  halt,
  load32,
  loadTask,
  out8,
  pause,
  pop,
  popAll,
  portOut,
  PUSH_ALL_BYTES,
  pushAll,
  readClock,
  readRegister,
  readSpecial,
  reserve,
  type Routine,
  setPageMap,
  SPECIAL,
  sti,
  store32,
  store64,
  type Task,
  thisCpu,
  writeRegister,
} from "../ports/task.ts";
import {
  describeInterrupt,
  type DescriptorInit,
  hasErrorCode,
  INTERRUPT_PRIORITY,
  INTERRUPT_TYPE,
  type InterruptContext,
  type InterruptDescriptor,
  VECTORS,
} from "./descriptor.ts";
import { type GateInit, InterruptTable } from "./interrupt-table.ts";
import { IoApicDriver } from "./io-apic.ts";
import { IrqManager, type IrqSource, pinSource } from "./irq.ts";
import { LocalApicDriver } from "./local-apic.ts";
import { Arena, isGuardOf, makeStack, type Stack } from "./memory.ts";
import { Pic8259Driver } from "./pic8259.ts";
import { Scheduler, TSS_RSP0 } from "./scheduler.ts";
import { SoftIrqs } from "./soft-irq.ts";
import { SpinLock } from "./spin-lock.ts";
import { SystemCalls } from "./system-calls.ts";
import { KERNEL_VECTOR, VectorAllocator } from "./vectors.ts";

export type KernelOptions = {
  /** Bytes of each kernel stack; 16 KiB when absent. */
  readonly stackBytes?: number;
  readonly x2apic?: boolean;
  /** First vector of the 8259 pair when it is used instead of the I/O APIC; absent: it is masked. */
  readonly pic?: Vector;
};

/** Interrupt stack table: which entry has which stack. */
export const IST = { doubleFault: 1, nmi: 2 } as const;
const TSS_BYTES = 0x68;
const TSS_IST1 = 36;
const IST_STACK = 4096;
const DOUBLE_FAULT = 8;
const PAGE_FAULT = 14;
/** ACPI: PM1 control of this board, and SLP_EN. */
const POWER_OFF = { port: 0x604, value: 0x2000 } as const;
const EXIT_PORT = 0xf4;
const PANIC_STATUS = 0x23;
const EXCEPTION_NAMES: readonly string[] = [
  ...["divide error", "debug", "NMI", "breakpoint", "overflow", "bound", "undefined instruction", "no coprocessor"],
  ...["double fault", "", "invalid TSS", "segment not present", "stack fault", "general protection", "page fault"],
];

class PerCpu {
  readonly stack: Stack;
  readonly ists: readonly Stack[];
  readonly tss: PhysAddr;
  /** Who is being handled, the innermost last. */
  readonly chain: InterruptDescriptor[] = [];
  deepest = 0;
  constructor(stack: Stack, ists: readonly Stack[], tss: PhysAddr) {
    this.stack = stack;
    this.ists = ists;
    this.tss = tss;
  }
}

export class Kernel {
  readonly machine: KernelMachine;
  readonly arena: Arena;
  readonly map = new PageMap();
  readonly table: InterruptTable;
  readonly vectors: VectorAllocator;
  readonly apic: LocalApicDriver;
  readonly ioApic: IoApicDriver;
  readonly pic = new Pic8259Driver();
  readonly irqs: IrqManager;
  readonly softIrqs: SoftIrqs;
  readonly scheduler: Scheduler;
  readonly systemCalls = new SystemCalls();
  /** Why the kernel gave up; null while it has not. */
  panicText: string | null = null;
  /** External interrupts that nobody had installed a handler for. */
  unexpected = 0;
  /** 8259 inputs 7 and 15 without a request, and the local APIC's spurious vector. */
  spurious = 0;
  readonly #options: KernelOptions;
  readonly #perCpu: PerCpu[];
  /** 1 when the IDT is there, counted up by CPUs that are ready. */
  readonly #ready: PhysAddr;
  readonly #readyLock: SpinLock;

  constructor(machine: KernelMachine, options: KernelOptions = {}) {
    this.machine = machine;
    this.#options = options;
    const { cpus } = machine;
    const stackBytes = options.stackBytes ?? 16384;
    this.arena = new Arena(machine.memoryEnd);
    const { arena, map } = this;
    this.table = new InterruptTable(arena.take(4096, 4096), cpus);
    this.#ready = arena.take(8, 64);
    this.#readyLock = new SpinLock(arena.take(4, 64));
    this.apic = new LocalApicDriver(options.x2apic);
    this.ioApic = new IoApicDriver(machine.ioApic, new SpinLock(arena.take(4, 64)));
    this.vectors = new VectorAllocator(cpus);
    this.irqs = new IrqManager(cpus, this.table, this.vectors, this.apic);
    this.softIrqs = new SoftIrqs(cpus);
    this.#perCpu = Array.from({ length: cpus }, (_, cpu) => {
      const stack = makeStack(arena, map, `kernel stack of CPU ${cpu}`, stackBytes);
      const ists = ["double fault", "NMI"].map(name => makeStack(arena, map, `${name} stack of CPU ${cpu}`, IST_STACK));
      return new PerCpu(stack, ists, arena.take(TSS_BYTES, 128));
    });
    this.scheduler = new Scheduler({
      cpus,
      arena,
      map,
      code: machine.code,
      stackBytes,
      tssOf: cpu => this.#perCpu[cpu]!.tss,
      kick: cpu => this.apic.sendIpi(cpu, KERNEL_VECTOR.reschedule),
    });
    this.#installOwn();
  }

  // --- bringing up ------------------------------------------------------------------------------------------------------------------------------

  /** CPU 0 runs `main` when the kernel is up; the others run `other`, or idle. */
  start(main: Routine, other: ((cpu: number) => Task) | null = null): void {
    const kernel = this;
    for (let cpu = 0; cpu < this.machine.cpus; cpu++) {
      this.machine.setProgram(cpu, function* boot(): Task {
        yield* kernel.boot(cpu);
        if (cpu === 0) yield* main();
        else if (other !== null) yield* other(cpu);
      });
    }
  }

  /** Brings up the present CPU: stack, IDT, TSS, local APIC. Interrupts are on when it comes back. */
  *boot(cpu: number): Task {
    const { stack, ists, tss } = this.#perCpu[cpu]!;
    yield* setPageMap(this.map);
    yield* writeRegister(GPR.rsp, stack.top);
    if (cpu === 0) {
      yield* this.table.initialise(vector => this.#gate(vector));
      const { pic } = this.#options;
      if (pic === undefined) yield* this.pic.disable();
      else yield* this.pic.initialise(pic);
      yield* store32(this.#ready, 1);
    } else while ((yield* load32(this.#ready)) === 0) yield* pause();
    yield* store64(tss + TSS_RSP0, stack.top);
    for (const [i, { top }] of ists.entries()) yield* store64(tss + TSS_IST1 + 8 * i, top);
    yield* loadTask(tss);
    yield* this.table.load();
    yield* this.apic.enable(KERNEL_VECTOR.spurious);
    if (cpu < 8 && !this.apic.x2apic) yield* this.apic.setLogicalId(cpu);
    yield* sti();
    yield* this.#countReady();
  }

  *#countReady(): Task {
    const flags = yield* this.#readyLock.acquire();
    yield* store32(this.#ready + 4, (yield* load32(this.#ready + 4)) + 1);
    yield* this.#readyLock.release(flags);
  }

  /** Waits until all CPUs are up. */
  *waitForAll(): Task {
    for (;;) {
      const ready = yield* load32(this.#ready + 4);
      if (ready === this.machine.cpus) return;
      yield* pause();
    }
  }

  #gate(vector: Vector): GateInit {
    const name = vector < EXCEPTION_NAMES.length ? EXCEPTION_NAMES[vector]! : `entry ${vector}`;
    const address = this.machine.code.place(() => this.#enter(vector), name);
    if (vector === DOUBLE_FAULT) return { address, ist: IST.doubleFault };
    if (vector === 2) return { address, ist: IST.nmi };
    const user = vector === KERNEL_VECTOR.systemCall || vector === 3;
    return { address, privilegeLevel: user ? 3 : 0 };
  }

  #installOwn(): void {
    const own = (number: Vector, description: string, handler: DescriptorInit["handler"], type?: 2): void =>
      this.table.install(
        describeInterrupt({
          number,
          description,
          handler,
          priority: INTERRUPT_PRIORITY.critical,
          ...(type === undefined ? {} : { type }),
        }),
      );
    own(KERNEL_VECTOR.systemCall, "system call", c => this.systemCalls.handle(c), INTERRUPT_TYPE.software);
    own(KERNEL_VECTOR.reschedule, "reschedule", c => this.scheduler.tick(c.cpu));
    own(KERNEL_VECTOR.timer, "local timer", c => this.scheduler.tick(c.cpu));
  }

  // --- handlers ---------------------------------------------------------------------------------------------------------------------------------

  /** The document's descriptor for a vector of the caller's choice. Throws RangeError for a number that is no vector. */
  install(init: DescriptorInit): InterruptDescriptor {
    const descriptor = describeInterrupt(init);
    this.table.install(descriptor);
    return descriptor;
  }

  /** Another gate for a vector: who may call it, on which stack, with interrupts left as they are (a trap gate). */
  *configureGate(vector: Vector, change: Omit<GateInit, "address">): Task {
    yield* this.table.writeGate(vector, { ...this.#gate(vector), ...change });
  }

  /** Source of an ISA interrupt at the I/O APIC. */
  isaSource(irq: number, level = false): IrqSource {
    return pinSource(this.ioApic, this.machine.pinOfIrq(irq), level, false);
  }

  /** Source of a pin of the I/O APIC; PCI's are level-triggered and active low. */
  pinSource(pin: number): IrqSource {
    const low = ((this.machine.activeLowPins >>> pin) & 1) !== 0;
    return pinSource(this.ioApic, pin, low, low);
  }

  /** Handlers that `cpu` is in, the innermost last. */
  nesting(cpu: number): readonly InterruptDescriptor[] {
    return this.#perCpu[cpu]!.chain;
  }

  /** Most handlers that were nested on `cpu`. */
  deepest(cpu: number): number {
    return this.#perCpu[cpu]!.deepest;
  }

  // --- from the gate to the handler -------------------------------------------------------------------------------------------------------------

  /**
   * The document's `handle_local_apic_interrupt`, but the in-service bit is the hardware's. Each operation passes through all generators between it and
   * its core: so this is one, and calls others only for what is rare, and for the handler.
   */
  *#enter(vector: Vector): Task {
    const errorCode = hasErrorCode(vector) ? yield* pop() : 0;
    yield* pushAll();
    const registers = yield* readRegister(GPR.rsp);
    const cpu = yield* thisCpu();
    const context = { cpu, vector, errorCode, registers, frame: registers + PUSH_ALL_BYTES };
    const descriptor = this.table.lookUp(cpu, vector);
    if (descriptor === null) yield* this.#default(context);
    else {
      const { nested, controller, maskable } = descriptor;
      const { chain } = this.#perCpu[cpu]!;
      if (controller !== "8259" || !(yield* this.#isSpuriousPic(vector))) {
        this.#begin(cpu, descriptor);
        const began = yield* readClock();
        if (nested) yield* sti();
        yield* descriptor.handler(context);
        if (nested) yield* cli();
        count(descriptor, (yield* readClock()) - began);
        if (controller === "local-apic") yield* this.apic.endOfInterrupt();
        else if (controller === "8259") yield* this.pic.endOfInterrupt(this.pic.irqOf(vector));
        chain.pop();
      }
      // The end of the outermost handler, with interrupts off.
      if (maskable && chain.length === 0) {
        if (this.softIrqs.isPending(cpu)) yield* this.softIrqs.run(cpu);
        if (this.scheduler.wantsSwitch(cpu)) yield* this.scheduler.preempt(cpu);
      }
    }
    yield* popAll();
  }

  #begin(cpu: number, descriptor: InterruptDescriptor): void {
    const perCpu = this.#perCpu[cpu]!;
    perCpu.chain.push(descriptor);
    if (perCpu.chain.length > perCpu.deepest) perCpu.deepest = perCpu.chain.length;
  }

  *#isSpuriousPic(vector: Vector): Task<boolean> {
    if (!(yield* this.pic.isSpurious(this.pic.irqOf(vector)))) return false;
    this.spurious++;
    return true;
  }

  /** The document's `default_interrupt_handler`. An exception that nobody handles is the kernel's end. */
  *#default(context: InterruptContext): Task {
    const { vector, cpu } = context;
    if (vector === DOUBLE_FAULT || vector === PAGE_FAULT) yield* this.#memoryPanic(context);
    else if (vector < 32) {
      const name = EXCEPTION_NAMES[vector] ?? `exception ${vector}`;
      yield* this.panic(`${name} on CPU ${cpu}, error code ${context.errorCode}`, cpu);
    } else if (vector === KERNEL_VECTOR.spurious) this.spurious++;
    else {
      this.unexpected++;
      // Software interrupts come here, too: only what is in service gets an EOI.
      if (yield* this.apic.inService(vector)) yield* this.apic.endOfInterrupt();
    }
  }

  *#memoryPanic({ vector, cpu, errorCode }: InterruptContext): Task {
    const address = yield* readSpecial(SPECIAL.cr2);
    const stacks = [this.#perCpu[cpu]!.stack, this.scheduler.current(cpu).stack].filter(stack => stack !== null);
    const stack = stacks.find(known => isGuardOf(known, address));
    const at = `0x${address.toString(16)}`;
    if (stack !== undefined) yield* this.panic(`${stack.name} overflowed at ${at}`, cpu);
    else if (vector === PAGE_FAULT)
      yield* this.panic(`page fault at ${at} on CPU ${cpu}, error code ${errorCode}`, cpu);
    else yield* this.panic(`double fault on CPU ${cpu}, CR2 ${at}`, cpu);
  }

  /** The kernel gives up: a sentence in the report, and the run ends with status 71. */
  *panic(text: string, cpu: number): Task {
    yield* cli();
    const chain = this.#perCpu[cpu]!.chain;
    const nesting = chain.map(({ number, description }) => `vector 0x${number.toString(16)} (${description})`);
    this.panicText = nesting.length === 0 ? text : `${text}; in ${nesting.toReversed().join(" over ")}`;
    this.machine.note(`kernel panic: ${this.panicText}`);
    yield* out8(EXIT_PORT, PANIC_STATUS);
    for (;;) yield* halt();
  }

  /** Switches the machine off by ACPI. */
  *powerOff(): Task {
    yield* portOut(POWER_OFF.port, 2, POWER_OFF.value);
    for (;;) yield* halt();
  }

  /** Takes stack for a handler's own variables; give them back with the same number. */
  *useStack(bytes: number): Task {
    yield* reserve(bytes);
    const rsp = yield* readRegister(GPR.rsp);
    // A compiler touches what it takes.
    yield* store32(rsp, 0);
  }

  *dropStack(bytes: number): Task {
    yield* reserve(-bytes);
  }

  /** All descriptors with their counts, for reports. */
  statistics(): InterruptDescriptor[] {
    return this.table.installed().sort((a, b) => a.number - b.number);
  }

  static readonly VECTORS = VECTORS;
}

/** A handler of `descriptor` ran for `ns`. */
function count({ statistics }: InterruptDescriptor, ns: Ns): void {
  statistics.count++;
  statistics.handlerNs += ns;
  if (ns > statistics.longestNs) statistics.longestNs = ns;
}
