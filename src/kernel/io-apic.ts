/**
 * Driver of the I/O APIC. Intel 82093AA data sheet (290566). The document writes a redirection entry as the first two of nine words; a real one is one
 * value of 64 bits.
 */
import type { ApicId, PhysAddr, Vector } from "../base/units.ts";
import { IOAPIC_INDEX, IOAPIC_OFFSET, IOAPIC_PINS, RTE } from "../intc/ioapic.regs.ts";
import { DELIVERY } from "../ports/message.ts";
import { load32, store32, type Task } from "../ports/task.ts";
import { checkVector } from "./descriptor.ts";
import type { SpinLock } from "./spin-lock.ts";

export type IoApicRoute = {
  readonly level?: boolean;
  /** The input is active while it is low. */
  readonly activeLow?: boolean;
  readonly masked?: boolean;
  /** One of DELIVERY. */
  readonly deliveryMode?: number;
  /** The destination is a set of logical ids. */
  readonly logical?: boolean;
};

/** Low and high word of an entry. Throws RangeError for what does not fit. */
export function redirectionEntry(vector: Vector, destination: ApicId, route: IoApicRoute = {}): [number, number] {
  checkVector(vector);
  if (vector < 16) throw new RangeError(`vector ${vector}: an I/O APIC sends 16 to 255`);
  if (destination < 0 || destination > 255) throw new RangeError(`destination ${destination}: 8 bits`);
  const { level = false, activeLow = false, masked = false, logical = false } = route;
  let low = RTE.deliveryMode.put(RTE.vector.put(0, vector), route.deliveryMode ?? DELIVERY.fixed);
  low = RTE.destinationMode.put(RTE.polarity.put(low, Number(activeLow)), Number(logical));
  low = RTE.mask.put(RTE.trigger.put(low, Number(level)), Number(masked));
  return [low, RTE.destination.put(0, destination)];
}

export class IoApicDriver {
  readonly pins = IOAPIC_PINS;
  readonly #base: PhysAddr;
  readonly #lock: SpinLock;

  /** @param lock index and data registers are a pair: two CPUs must not mix them */
  constructor(base: PhysAddr, lock: SpinLock) {
    this.#base = base;
    this.#lock = lock;
  }

  *read(index: number): Task<number> {
    const flags = yield* this.#lock.acquire();
    yield* store32(this.#base + IOAPIC_OFFSET.IOREGSEL, index);
    const value = yield* load32(this.#base + IOAPIC_OFFSET.IOWIN);
    yield* this.#lock.release(flags);
    return value;
  }

  *write(index: number, value: number): Task {
    const flags = yield* this.#lock.acquire();
    yield* store32(this.#base + IOAPIC_OFFSET.IOREGSEL, index);
    yield* store32(this.#base + IOAPIC_OFFSET.IOWIN, value);
    yield* this.#lock.release(flags);
  }

  /**
   * The document's `configure_ioapic_entry`: routes `pin` to `vector` at the local APIC `destination`. The entry is masked while its halves do not fit
   * together. Throws RangeError.
   */
  *configureIoApicEntry(pin: number, vector: Vector, destination: ApicId, route: IoApicRoute = {}): Task {
    this.#check(pin);
    const [low, high] = redirectionEntry(vector, destination, route);
    const index = IOAPIC_INDEX.TABLE + 2 * pin;
    yield* this.write(index, RTE.mask.put(0, 1));
    yield* this.write(index + 1, high);
    yield* this.write(index, low);
  }

  *mask(pin: number): Task {
    yield* this.#setMask(pin, 1);
  }

  *unmask(pin: number): Task {
    yield* this.#setMask(pin, 0);
  }

  *#setMask(pin: number, mask: number): Task {
    this.#check(pin);
    const index = IOAPIC_INDEX.TABLE + 2 * pin;
    yield* this.write(index, RTE.mask.put(yield* this.read(index), mask));
  }

  /** Another CPU, the same vector: one write, so that no edge can be lost on the way. */
  *setDestination(pin: number, destination: ApicId): Task {
    this.#check(pin);
    yield* this.write(IOAPIC_INDEX.TABLE + 2 * pin + 1, RTE.destination.put(0, destination));
  }

  /** Both words of an entry. */
  *entry(pin: number): Task<[number, number]> {
    this.#check(pin);
    const index = IOAPIC_INDEX.TABLE + 2 * pin;
    return [yield* this.read(index), yield* this.read(index + 1)];
  }

  #check(pin: number): void {
    if (!Number.isInteger(pin) || pin < 0 || pin >= this.pins) throw new RangeError(`the I/O APIC has no pin ${pin}`);
  }
}
