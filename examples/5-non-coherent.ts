/**
 * 5. A machine whose devices do not look into the caches. The CPU writes a buffer, a device copies it: without the flush before, the device finds in memory
 * what was there earlier; without the invalidation behind, the CPU finds in its cache what was there earlier.
 *
 *     iretq run examples/5-non-coherent.ts --log dma
 */
import { scenario } from "iretq";
import {
  DIRECTION,
  DmaCoherence,
  DmaDevice,
  DmaMemory,
  IoatDriver,
  Kernel,
  load32,
  pause,
  PciFunction,
  store32,
  type Task,
  UartDriver,
} from "iretq/kernel";

const caches = { coherent: false, storeBuffer: true };

export default scenario({ cpus: 1, caches, devices: ["ioat,addr=5"] }, machine => {
  const kernel = new Kernel(machine);
  const serial = new UartDriver();
  const memory = new DmaMemory(kernel.arena);
  const coherence = new DmaCoherence(false);
  // Descriptors lie in coherent memory, which the driver gets uncached: they are right in any case.
  const device = new DmaDevice({ memory, coherence, map: kernel.map });
  const engine = new IoatDriver(new PciFunction(0, 5), device);

  /** Copies `value` by DMA from one buffer to another that held 0; gives what the CPU then reads there. */
  function* copy(value: number, before: boolean, after: boolean): Task<number> {
    const { channel } = engine;
    const [source, target] = [memory.allocate(64), memory.allocate(64)];
    // Zeroes, in memory and in no cache.
    for (const buffer of [source, target]) {
      yield* store32(buffer, 0);
      yield* coherence.flushDmaCoherence(buffer, 64);
    }
    yield* store32(source, value);
    const regions = [
      { address: source, bytes: 64, direction: DIRECTION.toDevice },
      { address: target, bytes: 64, direction: DIRECTION.fromDevice },
    ];
    yield* channel.configureScatterGatherDma([{ source, destination: target, bytes: 64 }], { regions });
    if (before) yield* coherence.synchronizeDmaOperation(channel, true);
    // Somebody looks at the target too early, and has its line in the cache: a prefetch would do the same.
    yield* load32(target);
    yield* channel.startDmaTransfer();
    while (channel.active) yield* pause();
    if (after) yield* coherence.synchronizeDmaOperation(channel, false);
    return yield* load32(target);
  }

  kernel.start(function* main() {
    yield* serial.start(kernel);
    yield* engine.begin(kernel);
    for (const [before, after] of [
      [true, true],
      [false, true],
      [true, false],
    ] as const) {
      const found = yield* copy(42, before, after);
      const flush = before ? "flushed before" : "not flushed before";
      const invalidate = after ? "invalidated after" : "not invalidated after";
      yield* serial.write(`${flush}, ${invalidate}: ${found === 42 ? "right" : `wrong, ${found}`}\n`);
    }
    yield* kernel.powerOff();
  });
});
