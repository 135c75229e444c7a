/**
 * The board: makes every part and connects them. Nobody else knows more than one part; nothing here decides anything at run time but what a wire would.
 */
import { HostError } from "../base/assert.ts";
import { type Bdf, MIB, type Ns, PAGE } from "../base/units.ts";
import { PHYSICAL_BITS } from "../cpu/system/control-bits.ts";
import { AcpiPm } from "../devices/acpi-pm.ts";
import { DebugConsolePort, ExitPort, PostCodePort } from "../devices/debug-ports.ts";
import { DiskImage } from "../devices/disk-image.ts";
import { FwCfg } from "../devices/fw-cfg.ts";
import { Hpet } from "../devices/hpet.ts";
import { I8042 } from "../devices/i8042.ts";
import { PcTestdev, TESTDEV_LINES } from "../devices/pc-testdev.ts";
import { Pit8254 } from "../devices/pit8254.ts";
import { Ps2Keyboard } from "../devices/ps2-keyboard.ts";
import { Ps2Mouse } from "../devices/ps2-mouse.ts";
import { Rtc } from "../devices/rtc.ts";
import { SystemControl } from "../devices/system-control.ts";
import { Uart16550 } from "../devices/uart16550.ts";
import type { BootPlan, MemoryFacts } from "../firmware/boot-plan.ts";
import { e820 } from "../firmware/e820.ts";
import { type FirmwareTables, firmwareTables } from "../firmware/firmware-tables.ts";
import { loadImage } from "../firmware/load-image.ts";
import { ApicFabric } from "../intc/apic-fabric.ts";
import { IoApic } from "../intc/ioapic.ts";
import { LocalApic } from "../intc/lapic.ts";
import { MsiDecode } from "../intc/msi-decode.ts";
import { NmiGate } from "../intc/nmi-gate.ts";
import { PicPair } from "../intc/pic-pair.ts";
import { AddressSpace } from "../memory/address-space.ts";
import { BusMaster, type BusPath } from "../memory/bus-master.ts";
import { CpuBusPort } from "../memory/cpu-bus.ts";
import { PortSpace } from "../memory/port-space.ts";
import { Ram } from "../memory/ram.ts";
import { PIRQ_COUNT } from "../pci/chipset.regs.ts";
import { Line, type LinePin } from "../ports/line.ts";
import type { CpuBus } from "../ports/cpu-bus.ts";
import type { Part, ResetKind } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";
import { firstChoice } from "../sim/choice.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import { Trace } from "../sim/trace.ts";
import { A20Gate } from "./a20-gate.ts";
import { ArbiterBoard, ISA_SHARE } from "./arbiter-board.ts";
import { boardFacts, type OptionalPart } from "./board-facts.ts";
import { BIOS_WINDOW, BiosServices, startBiosDevices } from "./bios-services.ts";
import { CacheBoard } from "./cache-board.ts";
import { CpuWires } from "./cpu-wires.ts";
import { type Exit, STATUS } from "./exit.ts";
import { HPET_REQUESTER, IOAPIC_REQUESTER, type Iommu, makeIommu, remappingFacts } from "./iommu-board.ts";
import { EXTINT_PIN, IRQ, IRQ_LINES } from "./irq-map.ts";
import { IsaBoard } from "./isa-board.ts";
import { ECAM, PCI_PLACE, PIRQ_ACTIVE_LOW, PIRQ_FIRST_LINE } from "./pci-map.ts";
import { PciBoard } from "./pci-board.ts";
import { setUpPci } from "./pci-setup.ts";
import { HIGH_RAM_BASE, HPET_BASE, IOAPIC_BASE, PORT, splitRam, TESTDEV_BASE, VIDEO_HOLE } from "./memory-map.ts";
import { firmwareMtrrs } from "./mtrrs.ts";
import { MAX_CPUS, type PcOptions } from "./pc-options.ts";
import { type BoardProcessor, engineArea, processorFacts, processorMaker } from "./processor.ts";
import { cmosMemory, enterVirtualWire, initialisePics, resetParts } from "./reset.ts";
import { Scheduler, STOP } from "./scheduler.ts";
import { SeededChoice } from "./seeded-choice.ts";
import { SerialFeed } from "./serial-feed.ts";
import { hashMachine, loadMachine, type Snapshot, type Stateful, saveMachine } from "./snapshot.ts";

export class Pc implements Stateful {
  readonly clock = new Clock();
  readonly queue = new EventQueue(this.clock);
  readonly trace = new Trace(this.clock);
  readonly ram: Ram;
  readonly space: AddressSpace;
  readonly ports = new PortSpace();
  readonly parts: Part[] = [];
  /** By line number; the cascade's place is empty. */
  readonly lines: Line[];
  readonly cpus: BoardProcessor[] = [];
  readonly lapics: LocalApic[] = [];
  readonly pic: PicPair;
  readonly ioapic: IoApic;
  /** Null without `iommu`, `caches`, `bus`. */
  readonly iommu: Iommu | null;
  readonly caches: CacheBoard | null;
  readonly bus: ArbiterBoard | null;
  readonly isa: IsaBoard;
  readonly pci: PciBoard;
  readonly uart: Uart16550;
  /** In the order of the options. */
  readonly disks: readonly DiskImage[];
  readonly scheduler: Scheduler;
  readonly serialFeed: SerialFeed;
  readonly keyboard: Ps2Keyboard;
  /** ACPI and MultiProcessor tables. */
  readonly firmware: FirmwareTables;
  /** What was loaded and how it starts; null without an image. */
  readonly plan: BootPlan | null;
  readonly #options: PcOptions;
  readonly #memory: WebAssembly.Memory;
  readonly #facts: MemoryFacts;
  readonly #fabric = new ApicFabric();
  readonly #msi: MsiDecode;
  readonly #dmaPath: BusPath;
  readonly #a20: A20Gate;
  readonly #nmiGate = new NmiGate();
  readonly #nmiLine: Line;
  readonly #irqs: ReadonlyMap<number, Line>;
  #exit: Exit | null = null;
  #resetDue = false;
  #pauseDue = false;

  /** Throws {@link HostError}: 64 for impossible options, 66 for an image that cannot be loaded. */
  constructor(options: PcOptions) {
    this.#options = options;
    const { cpus, memory } = options;
    if (!(cpus >= 1 && cpus <= MAX_CPUS))
      throw new HostError(`${cpus} CPUs: 1 to ${MAX_CPUS} are possible`, STATUS.usage);
    const { low, high } = splitRam(memory);
    this.#facts = { lowBytes: low, highBytes: high, reserved: [{ base: ECAM.base, length: ECAM.size }] };
    const {
      image,
      modules = [],
      initrd = null,
      entry = null,
      vendor = "GenuineIntel",
      features = [],
      without = [],
    } = options;
    const board = boardFacts({ cpus, memory, processor: processorFacts(vendor, features), without });
    const iommu = options.iommu ?? null;
    const remapping = iommu === null ? null : remappingFacts(iommu, board.ioapicId, board.hpet !== null);
    this.firmware = firmwareTables(board, remapping);
    this.plan =
      image === null ? null : loadImage(image, modules, this.#facts, { initrd, rsdp: this.firmware.rsdp, entry });

    const { bytes: engineBytes, codePages } = engineArea(cpus, memory);
    this.#memory = allocate(engineBytes + memory);
    const { buffer } = this.#memory;
    this.ram = new Ram(buffer, engineBytes, memory, new Uint8Array(buffer, codePages, memory / PAGE));
    this.space = new AddressSpace(this.ram);
    this.#mapRam(low, high);
    const { caches = null, bus = null } = options;
    this.caches = caches === null ? null : new CacheBoard(caches, this.ram, cpus, this.queue);
    this.bus = bus === null ? null : new ArbiterBoard(bus, this.queue);
    if (this.bus !== null) this.#add(this.bus.arbiter);

    const lines = IRQ_LINES.map(({ name, irq }) => new Line(name, irq, this.trace));
    this.#irqs = new Map(lines.map(line => [line.index, line]));
    this.#nmiLine = new Line("NMI", IRQ_LINES.length + 1, this.trace);
    this.#a20 = this.#add(new A20Gate(open => this.space.setA20(open)));
    this.#msi = new MsiDecode(this.#fabric, this.trace);
    const dmaCaches = this.caches?.dma ?? null;
    const surroundings = { space: this.space, trace: this.trace, bus: this.#fabric, msi: this.#msi, caches: dmaCaches };
    this.iommu = iommu === null ? null : makeIommu(iommu, surroundings);
    for (const remapper of this.iommu?.units ?? []) this.#add(remapper);
    const msi = this.iommu?.msi ?? this.#msi;
    this.#dmaPath = {
      space: this.space,
      msi,
      trace: this.trace,
      remap: this.iommu?.remap ?? null,
      caches: dmaCaches,
    };
    this.pic = this.#add(new PicPair(this.trace));
    const unit = this.iommu?.interrupts ?? null;
    const ioapicRemapping = unit === null ? null : { unit, requester: IOAPIC_REQUESTER };
    const activeLow = PIRQ_ACTIVE_LOW;
    this.ioapic = this.#add(
      new IoApic({ bus: this.#fabric, trace: this.trace, activeLow, remapping: ioapicRemapping }),
    );
    this.#add(this.#fabric);
    this.#add(this.#nmiGate);
    const wires = this.#makeProcessors();
    for (const part of this.caches?.parts ?? []) this.#add(part);
    this.#connectControllers();

    this.uart = this.#makeSerial();
    this.serialFeed = this.#add(new SerialFeed(this.queue, byte => this.uart.receive(byte)));
    this.isa = this.#makeIsa();
    this.lines = [...lines, this.#nmiLine, ...this.isa.lines];
    const pit = this.#makeTimers();
    this.disks = (options.disks ?? []).map((disk, i) => this.#add(new DiskImage({ name: `disk ${i + 1}`, ...disk })));
    this.pci = this.#makePci(this.#makeSystemControl(pit));
    this.keyboard = this.#add(new Ps2Keyboard());
    this.#makeKeyboardController();
    this.#makePowerAndDebug();
    this.#makeFwCfg();
    if (options.testDevices === true) this.#makeTestDevices();
    if (this.plan?.bios === true) this.#makeBios();

    const choice = options.seed === undefined ? firstChoice : this.#add(new SeededChoice(options.seed));
    const slice = options.slice === undefined ? {} : { slice: options.slice };
    this.scheduler = new Scheduler(this.cpus, this.clock, this.queue, { choice, ...slice });
    wires.forEach((wire, i) => {
      wire.connect(this.cpus[i]!, this.cpus[i]!.tsc, this.scheduler);
    });
    this.#reset("power");
  }

  #add<T extends Part>(part: T): T {
    this.parts.push(part);
    return part;
  }

  /** A new driver on an interrupt line. */
  #pin(irq: number): LinePin {
    return this.#irqs.get(irq)!.pin();
  }

  #mapRam(low: number, high: number): void {
    const behind = VIDEO_HOLE.base + VIDEO_HOLE.size;
    this.space.mapRam("RAM below 640K", 0, VIDEO_HOLE.base, 0);
    this.space.mapRam("RAM", behind, low - behind, behind);
    if (high > 0) this.space.mapRam("RAM above 4G", HIGH_RAM_BASE, high, low);
  }

  // --- processors and interrupt controllers -------------------------------------------------------------------------------------------------------

  #makeProcessors(): CpuWires[] {
    const { cpus, vendor = "GenuineIntel", features = [], makeProcessor = processorMaker() } = this.#options;
    const { clock, queue, trace, ram } = this;
    const ferr = this.#pin(IRQ.coprocessor);
    return Array.from({ length: cpus }, (_, index) => {
      const wires = new CpuWires(index);
      const bsp = index === 0;
      const extInt = this.pic;
      const bus = this.#fabric;
      const apic = new LocalApic({ index, apicId: index, bsp, queue, trace, signals: wires, tsc: wires, bus, extInt });
      this.lapics.push(this.#add(apic));
      this.#fabric.attach(apic);
      const cpu = makeProcessor({
        index,
        cpus,
        bsp,
        memory: this.#memory,
        ram,
        bus: this.#busOf(index),
        apic,
        clock,
        trace,
        vendor,
        features,
        ferr: level => ferr.set(level),
      });
      this.cpus.push(this.#add(cpu));
      return wires;
    });
  }

  /** The way of processor `index` to memory and ports. */
  #busOf(index: number): CpuBus {
    const bus = new CpuBusPort(index, this.space, this.ports, this.trace);
    return this.caches === null ? bus : this.caches.busOf(index, bus);
  }

  #connectControllers(): void {
    for (const { irq, pic, ioapic } of IRQ_LINES) {
      const line = this.#irqs.get(irq)!;
      if (pic >= 0) line.connect(this.pic, pic);
      line.connect(this.ioapic, ioapic);
    }
    this.pic.connectIntr(this.ioapic, EXTINT_PIN);
    this.#nmiLine.connect(this.#nmiGate, 0);
    for (const lapic of this.lapics) {
      this.pic.connectIntr(lapic, 0);
      this.#nmiGate.connect(lapic, 1);
    }
    this.#fabric.attachEoiListener(this.ioapic);
    this.space.mapWindow(this.ioapic, IOAPIC_BASE);
    this.ports.map(this.pic.masterWindow, PORT.picMaster);
    this.ports.map(this.pic.slaveWindow, PORT.picSlave);
    this.ports.map(this.pic.elcrWindow, PORT.elcr);
  }

  // --- devices ------------------------------------------------------------------------------------------------------------------------------------

  #makeSerial(): Uart16550 {
    const { onSerial } = this.#options;
    const uart = this.#add(
      new Uart16550({
        name: "com1",
        queue: this.queue,
        irq: this.#pin(IRQ.serial1),
        // A console at the speed of the wire would cost a guest that polls 87 000 instructions per character.
        instantTransmit: true,
        ...(onSerial === undefined ? {} : { onTransmit: onSerial }),
      }),
    );
    this.ports.map(uart.window, PORT.com1);
    return uart;
  }

  #makeIsa(): IsaBoard {
    const { queue, ports } = this;
    const { device, fn } = PCI_PLACE.isaBridge;
    const master = this.busMaster((device << 3) | fn);
    const { floppies = [], onSound = null } = this.#options;
    const joinBus = this.bus?.joinOf(ISA_SHARE) ?? null;
    const isa = new IsaBoard({ queue, ports, master, joinBus, pin: irq => this.#pin(irq), floppies, onSound });
    for (const part of isa.parts) this.#add(part);
    return isa;
  }

  #makeTimers(): Pit8254 {
    const { queue } = this;
    const pit = this.#add(new Pit8254({ queue, irq: this.#pin(IRQ.timer) }));
    this.ports.map(pit.window, PORT.pit);
    const rtc = this.#add(
      new Rtc({
        queue,
        irq: this.#pin(IRQ.rtc),
        cmos: [...cmosMemory(this.#facts), ...this.isa.cmos],
        nmiMask: masked => this.#nmiGate.setMasked(masked),
      }),
    );
    this.ports.map(rtc.window, PORT.rtc);
    if (this.#has("hpet")) this.#makeHpet(pit, rtc);
    return pit;
  }

  #has(part: OptionalPart): boolean {
    return !(this.#options.without ?? []).includes(part);
  }

  #makeHpet(pit: Pit8254, rtc: Rtc): void {
    const { queue } = this;
    const byInput = new Map(IRQ_LINES.map(({ irq, ioapic }) => [ioapic, irq]));
    const hpet = this.#add(
      new Hpet({
        queue,
        pin: input => (byInput.has(input) ? this.#pin(byInput.get(input)!) : null),
        legacyIrq0: this.#pin(IRQ.timer),
        legacyIrq8: this.#pin(IRQ.rtc),
        legacyReplacement: on => {
          pit.setIrqConnected(!on);
          rtc.setIrqConnected(!on);
        },
        msi: { msi: (address, data, _, cause) => this.#dmaPath.msi.msi(address, data, HPET_REQUESTER, cause) },
      }),
    );
    this.space.mapWindow(hpet.window, HPET_BASE);
  }

  /** Returns the reset control register, port 0xCF9. */
  #makeSystemControl(pit: Pit8254): Window {
    const { queue } = this;
    const control = this.#add(
      new SystemControl({
        queue,
        nmi: this.#nmiLine.pin(),
        timer2Gate: level => pit.setGate(2, level),
        timer2Out: () => pit.out(2),
        a20: open => this.#a20.set(open),
        resetRequest: () => this.requestReset(),
      }),
    );
    this.ports.map(control.port61, PORT.systemControl);
    this.ports.map(control.port92, PORT.fastA20);
    return control.portCf9;
  }

  /** @param resetControl the register that lies under CONFIG_ADDRESS */
  #makePci(resetControl: Window): PciBoard {
    const { space, ports, queue } = this;
    const pin = (line: number): LinePin => this.#pin(line);
    const { devices = [], seed = 0, onSerial = () => {}, network = {}, ide = {} } = this.#options;
    const [path, { disks, bus }] = [this.#dmaPath, this];
    const diskKeys = (this.#options.disks ?? []).map(({ keys = new Map() }) => keys);
    const wishes = { devices, disks, diskKeys, seed, onOutput: onSerial, network, ide };
    const pci = new PciBoard({ space, ports, queue, path, arbiter: bus, pin, resetControl, ...wishes });
    bus?.check();
    for (const part of pci.parts) this.#add(part);
    for (let pirq = 0; pirq < PIRQ_COUNT; pirq++) this.#irqs.get(PIRQ_FIRST_LINE + pirq)!.connect(pci.isaBridge, pirq);
    return pci;
  }

  #makeKeyboardController(): void {
    const controller = this.#add(
      new I8042({
        queue: this.queue,
        keyboardIrq: this.#pin(IRQ.keyboard),
        mouseIrq: this.#pin(IRQ.mouse),
        keyboard: this.keyboard,
        mouse: this.#add(new Ps2Mouse()),
        a20: open => this.#a20.set(open),
        resetRequest: () => this.requestReset(),
      }),
    );
    this.ports.map(controller.dataPort, PORT.keyboardData);
    this.ports.map(controller.commandPort, PORT.keyboardCommand);
  }

  #makePowerAndDebug(): void {
    const { queue } = this;
    const powerOff = (): void =>
      this.requestExit({ kind: "power-off", status: 0, detail: "the guest powered the machine off" });
    const timerBits = this.#has("pm-timer") ? 24 : 0;
    const pm = this.#add(new AcpiPm({ queue, sci: this.#pin(IRQ.acpi), timerBits, powerOff }));
    this.ports.map(pm.window, PORT.acpi);
    this.ports.map(pm.smiPort, PORT.smiCommand);
    this.ports.map(this.#add(new PostCodePort()), PORT.postCode);
    const { onDebug = () => {} } = this.#options;
    const exit = this.#add(
      new ExitPort(status => {
        const detail = `the guest ended the run through port 0xF4 with status ${status}`;
        this.requestExit({ kind: "guest-exit", status, detail });
      }),
    );
    this.ports.map(this.#add(new DebugConsolePort(onDebug)), PORT.debugConsole);
    this.ports.map(exit, PORT.exit);
  }

  #makeFwCfg(): void {
    const { cpus, memory } = this.#options;
    // Part of the platform, like the processors: no remapping hardware stands before it.
    const initiator = new BusMaster(0, { ...this.#dmaPath, remap: null });
    const fwCfg = this.#add(new FwCfg({ cpus, memory, e820: e820(this.#facts), initiator }));
    this.ports.map(fwCfg.window, PORT.fwCfg);
    this.ports.map(fwCfg.dmaWindow, PORT.fwCfgDma);
  }

  /** What guests in real mode call; nobody else sees it. */
  #makeBios(): void {
    const { space: memory, ports, clock } = this;
    this.ports.map(this.#add(new BiosServices({ memory, ports, clock, facts: this.#facts })), BIOS_WINDOW);
  }

  #makeTestDevices(): void {
    const pins = Array.from({ length: TESTDEV_LINES }, (_, irq) => (this.#irqs.has(irq) ? this.#pin(irq) : null));
    const device = this.#add(new PcTestdev(pins));
    this.ports.map(device.irqPorts, PORT.testIrq);
    this.ports.map(device.wordPorts, PORT.testWord);
    this.ports.map(device.flushPort, PORT.testFlush);
    // The debug console has the second of these four ports.
    this.ports.map(device.bytePorts, PORT.testBytes, { count: 1 });
    this.ports.map(device.bytePorts, PORT.testBytes + 2, { offset: 2 });
    this.space.mapWindow(device.memory, TESTDEV_BASE);
  }

  // --- life ---------------------------------------------------------------------------------------------------------------------------------------

  /** Resets every part, leaves the board as firmware would, loads the image (again) and starts the bootstrap processor. */
  #reset(kind: ResetKind): void {
    this.#resetDue = false;
    resetParts(this.parts, kind);
    enterVirtualWire(this.lapics[0]!);
    initialisePics(this.pic.masterWindow, this.pic.slaveWindow);
    this.isa.initialise();
    setUpPci(this.pci.root, this.pic.elcrWindow);
    for (const { address, bytes, size } of [...this.firmware.pieces, ...(this.plan?.pieces ?? [])]) {
      // A machine that was just switched on has zeros everywhere; writing them again would only make the host give memory.
      const zeros = kind === "power" ? 0 : size - bytes.length;
      if (zeros > 0) this.space.writeBlock(address + bytes.length, new Uint8Array(zeros), 0, zeros);
      this.space.writeBlock(address, bytes, 0, bytes.length);
    }
    if (this.plan?.bios === true) startBiosDevices(this.ports);
    for (const cpu of this.cpus) cpu.presetMsrs(firmwareMtrrs(PHYSICAL_BITS));
    if (this.plan !== null) this.cpus[0]!.start(this.plan.entry);
    this.scheduler.reset();
  }

  /** Platform reset at the end of the present instruction. */
  requestReset(): void {
    if (this.#options.noReboot === true) {
      this.requestExit({ kind: "reset", status: 0, detail: "the guest reset the machine" });
      return;
    }
    this.#resetDue = true;
    this.scheduler.requestStop();
  }

  /** The machine stops at the end of the present instruction. The first reason counts. */
  requestExit(exit: Exit): void {
    this.#exit ??= exit;
    this.scheduler.requestStop();
  }

  /** For a debugger: the {@link run} that is going on returns null at the end of the present instruction. */
  pause(): void {
    this.#pauseDue = true;
    this.scheduler.requestStop();
  }

  /**
   * Runs until `untilRetired` instructions were retired since power on or virtual time reaches `untilNs`. Returns null then (or somewhat earlier, to let
   * the host breathe: see {@link Scheduler.run}), and the reason when the machine stopped for good or has nothing left that could happen.
   */
  run(untilRetired: number, untilNs: Ns = Number.POSITIVE_INFINITY): Exit | null {
    for (;;) {
      if (this.#exit !== null) return this.#exit;
      switch (this.scheduler.run(untilRetired, untilNs)) {
        case STOP.bound:
          return null;
        case STOP.idle:
          return {
            kind: "idle",
            status: STATUS.limit,
            detail: "all CPUs are halted and nothing is left that could wake one",
          };
        case STOP.shutdown: {
          const cpu = this.cpus[this.scheduler.state.current]!;
          this.#exit = { kind: "triple-fault", status: STATUS.tripleFault, detail: cpu.shutdownReason() };
          break;
        }
        default:
          if (this.#exit === null && this.#resetDue) this.#reset("system");
          if (this.#pauseDue && this.#exit === null) {
            this.#pauseDue = false;
            return null;
          }
      }
    }
  }

  /** Instructions retired by all CPUs since power on. */
  get retired(): number {
    return this.scheduler.retired;
  }

  /** Characters typed by the user, at the present instant: for the console that asked for them, else for the serial port. */
  type(bytes: Iterable<number>): void {
    if (this.pci.typeKeys === null) this.typeSerial(bytes);
    else this.pci.typeKeys(bytes);
  }

  /** Characters that arrive at the serial port. */
  typeSerial(bytes: Iterable<number>): void {
    this.serialFeed.push(bytes);
  }

  get order(): Stateful["order"] {
    return this.scheduler.state;
  }

  /** Throws {@link HostError} when a processor cannot be saved. */
  save(): Snapshot {
    this.#refuseUnsaved();
    return saveMachine(this);
  }

  load(snapshot: Snapshot): void {
    this.#refuseUnsaved();
    loadMachine(this, snapshot);
  }

  #refuseUnsaved(): void {
    for (const { unsaved } of this.cpus) if (unsaved !== undefined) throw new HostError(unsaved, STATUS.usage);
  }

  /** A bus master beside the board's own devices. */
  readonly busMaster = (requester: Bdf): BusMaster => new BusMaster(requester, this.#dmaPath);

  /** 32 hexadecimal digits over the whole state. */
  stateHash(): string {
    return hashMachine(this);
  }
}

function allocate(bytes: number): WebAssembly.Memory {
  const pages = Math.ceil(bytes / 65536);
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages });
  } catch {
    throw new HostError(`cannot get ${Math.ceil(bytes / MIB)}M of memory from the host`, STATUS.usage);
  }
}
