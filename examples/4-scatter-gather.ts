/**
 * 4. Scatter-gather DMA with a completion interrupt. Three buffers lie here and there in memory; an I/OAT engine copies them into one, by one list of
 * descriptors, one doorbell and one interrupt, while the CPU does something else.
 *
 *     iretq run examples/4-scatter-gather.ts --log dma,msi,interrupt
 */
import { scenario } from "iretq";
import {
  compute,
  DIRECTION,
  DmaCoherence,
  DmaDevice,
  DmaMemory,
  IoatDriver,
  Kernel,
  load8,
  pairSegments,
  PciFunction,
  store8,
  UartDriver,
} from "iretq/kernel";

const TEXTS = ["scattered ", "in memory, ", "gathered by one request"];

export default scenario({ cpus: 1, devices: ["ioat,addr=5"] }, machine => {
  const kernel = new Kernel(machine);
  const serial = new UartDriver();
  const memory = new DmaMemory(kernel.arena);
  const device = new DmaDevice({ memory, coherence: new DmaCoherence(), map: kernel.map });
  const engine = new IoatDriver(new PciFunction(0, 5), device);

  kernel.start(function* main() {
    yield* serial.start(kernel);
    yield* engine.begin(kernel);

    // Three pieces, each in a page of its own, and the place where they shall end.
    const pieces: { address: number; bytes: number }[] = [];
    for (const text of TEXTS) {
      const address = memory.allocate(text.length, { alignment: 4096 });
      for (let i = 0; i < text.length; i++) yield* store8(address + i, text.charCodeAt(i));
      pieces.push({ address, bytes: text.length });
    }
    const bytes = TEXTS.join("").length;
    const target = memory.allocate(bytes);

    // From here on the buffers are the device's: it gets addresses on the bus, and the CPU keeps its hands off.
    const from = yield* device.mapSg(pieces, DIRECTION.toDevice);
    const to = yield* device.map(target, bytes, DIRECTION.fromDevice);
    const steps = pairSegments(from.segments, [{ bus: to.bus, bytes }], bytes);

    let status: number | null = null;
    yield* engine.channel.configureScatterGatherDma(steps, {
      regions: [...from.regions, to.region],
      // Called from the interrupt handler, with 0 or -EIO.
      onCompletion: (_channel, result) => {
        status = result;
        return undefined;
      },
    });
    yield* engine.channel.startDmaTransfer();
    let rounds = 0;
    for (; status === null; rounds++) yield* compute(10);

    // And back to the CPU.
    yield* device.unmapSg(from);
    yield* device.unmap(to);
    let text = "";
    for (let i = 0; i < bytes; i++) text += String.fromCharCode(yield* load8(target + i));
    yield* serial.write(`${text}\n`);
    yield* serial.write(`${steps.length} descriptors, ${engine.channel.bytesTransferred} bytes, status ${status}, `);
    yield* serial.write(`${engine.interrupts} interrupt; the CPU ${rounds > 10 ? "worked meanwhile" : "waited"}\n`);
    yield* kernel.powerOff();
  });
});
