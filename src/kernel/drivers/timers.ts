/**
 * The three timers of a PC as sources of a periodic interrupt: 8254 (Intel 231164), local APIC timer, HPET (IA-PC HPET Specification 1.0a).
 */
import { HPET, HPET_CONFIGURATION, HPET_TICK_NS, HPET_TIMER, HPET_TIMER_CONFIG } from "../../devices/hpet.regs.ts";
import { PIT, PIT_CONTROL, PIT_HZ } from "../../devices/pit8254.regs.ts";
import type { Ns } from "../../base/units.ts";
import { load32, out8, store32, type Task } from "../../ports/task.ts";
import type { Handler } from "../descriptor.ts";
import { type Irq, pinSource } from "../irq.ts";
import type { Kernel } from "../kernel.ts";
import { KERNEL_VECTOR } from "../vectors.ts";

const PIT_PORT = 0x40;
const PIT_IRQ = 0;
/** Both bytes, low first; rate generator. */
const PIT_ACCESS = 3;
const PIT_RATE = 2;
const SECOND = 1_000_000_000;

/** The 8254's counter 0 as a rate generator. Throws RangeError for a period that 16 bits cannot count. */
export function* startPit(kernel: Kernel, period: Ns, handler: Handler): Task<Irq> {
  const count = Math.round((period * PIT_HZ) / SECOND);
  if (count < 2 || count > 65536) throw new RangeError(`the 8254 cannot count ${period} ns`);
  const irq = yield* kernel.irqs.request(kernel.isaSource(PIT_IRQ), { name: "8254", handler, priority: 2 });
  yield* out8(PIT_PORT + PIT.control, PIT_CONTROL.mode.put(PIT_CONTROL.access.put(0, PIT_ACCESS), PIT_RATE));
  yield* out8(PIT_PORT + PIT.counter0, count & 0xff);
  yield* out8(PIT_PORT + PIT.counter0, (count >> 8) & 0xff);
  return irq;
}

/** The present CPU's local timer, with the scheduler's tick as its handler unless another is installed for the vector. */
export function* startLocalTimer(kernel: Kernel, period: Ns): Task {
  yield* kernel.apic.startTimer(KERNEL_VECTOR.timer, period, true);
}

/** HPET's comparator 0 in periodic mode at an input of the I/O APIC that it can reach. */
export function* startHpet(kernel: Kernel, period: Ns, pin: number, handler: Handler): Task<Irq> {
  const { hpet } = kernel.machine;
  const block = hpet + HPET.timers;
  const reachable = yield* load32(block + HPET_TIMER.configuration + 4);
  if (((reachable >>> pin) & 1) === 0) throw new RangeError(`HPET cannot reach pin ${pin}`);
  const low = ((kernel.machine.activeLowPins >>> pin) & 1) !== 0;
  const irq = yield* kernel.irqs.request(pinSource(kernel.ioApic, pin, false, low), { name: "HPET", handler });
  const ticks = Math.max(1, Math.round(period / HPET_TICK_NS));
  yield* store32(hpet + HPET.configuration, 0);
  yield* store32(hpet + HPET.counter, 0);
  yield* store32(hpet + HPET.counter + 4, 0);
  const { interruptEnable, periodic, valueSet, mode32, route } = HPET_TIMER_CONFIG;
  // 32 bits: the upper halves of comparator and period are all ones after a reset.
  const config = interruptEnable.mask | periodic.mask | valueSet.mask | mode32.mask | route.put(0, pin);
  yield* store32(block + HPET_TIMER.configuration, config);
  // The first write sets the comparator, the second the period (2.3.9.2.2).
  yield* store32(block + HPET_TIMER.comparator, ticks);
  yield* store32(block + HPET_TIMER.comparator, ticks);
  yield* store32(hpet + HPET.configuration, HPET_CONFIGURATION.enable.mask);
  return irq;
}
