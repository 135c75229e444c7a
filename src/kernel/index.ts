/**
 * `iretq/kernel`: the kernel side in TypeScript. A task is a generator; what it may yield is in ports/task.ts, and everything else here is built of that.
 *
 * @module
 */
export * from "../ports/cost-tables.ts";
export type { KernelMachine } from "../ports/kernel-machine.ts";
export { DELIVERY } from "../ports/message.ts";
export * from "../ports/page-map.ts";
export * from "../ports/task.ts";
export * from "./balancer.ts";
export * from "./context.ts";
export * from "./descriptor.ts";
export * from "./dma/channel.ts";
export * from "./dma/coherence.ts";
export * from "./dma/device.ts";
export { DmaError, type DmaErrorCode, ERRNO } from "./dma/errors.ts";
export * from "./dma/memory.ts";
export * from "./dma/wait.ts";
export * from "./drivers/floppy.ts";
export * from "./drivers/i8237.ts";
export * from "./drivers/ide.ts";
export * from "./drivers/ioat.ts";
export * from "./drivers/keyboard.ts";
export * from "./drivers/rtc.ts";
export * from "./drivers/timers.ts";
export * from "./drivers/uart.ts";
export * from "./interrupt-remapping.ts";
export * from "./interrupt-table.ts";
export * from "./io-apic.ts";
export * from "./iommu-domain.ts";
export * from "./irq.ts";
export * from "./kernel.ts";
export * from "./local-apic.ts";
export * from "./memory.ts";
export * from "./message.ts";
export * from "./pci.ts";
export * from "./pic8259.ts";
export * from "./scheduler.ts";
export * from "./soft-irq.ts";
export * from "./spin-lock.ts";
export * from "./system-calls.ts";
export * from "./threaded.ts";
export * from "./vectors.ts";
