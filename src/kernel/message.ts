/**
 * Message-signalled interrupts: what a device is told to write where. Intel SDM vol. 3A, "Message Signalled Interrupts".
 *
 * A {@link MessageComposer} stands between the kernel and the device, so that with interrupt remapping a device is given the index of a remapping entry
 * instead, and moving an interrupt changes that entry and not the device. Without such hardware the direct composer does.
 */
import type { ApicId, Bdf, PhysAddr, Vector } from "../base/units.ts";
import { MSI_ADDRESS, MSI_BASE, MSI_DATA } from "../intc/msi-decode.regs.ts";
import { DELIVERY } from "../ports/message.ts";
import type { Task } from "../ports/task.ts";
import { checkVector } from "./descriptor.ts";

export type MessageTarget = {
  readonly vector: Vector;
  readonly destination: ApicId;
  /** One of DELIVERY. */
  readonly deliveryMode?: number;
  readonly logical?: boolean;
};
export type DeviceMessage = { readonly address: PhysAddr; readonly data: number };

/** Address and data for an edge-triggered message. Throws RangeError for what does not fit. */
export function composeMessage(target: MessageTarget): DeviceMessage {
  checkVector(target.vector);
  if (target.destination < 0 || target.destination > 255) throw new RangeError(`destination ${target.destination}`);
  const { logical = false, deliveryMode = DELIVERY.fixed } = target;
  let address = MSI_ADDRESS.destination.put(MSI_ADDRESS.base.put(0, MSI_BASE), target.destination);
  // One of several logical destinations is chosen only with the redirection hint.
  if (logical || deliveryMode === DELIVERY.lowest)
    address = MSI_ADDRESS.redirectionHint.put(MSI_ADDRESS.destinationMode.put(address, Number(logical)), 1);
  return { address, data: MSI_DATA.deliveryMode.put(MSI_DATA.vector.put(0, target.vector), deliveryMode) };
}

/** Decides what a device writes so that `target` is reached. */
export interface MessageComposer {
  /** @param requester who will write @param index the device's vector number */
  compose(requester: Bdf, index: number, target: MessageTarget): Task<DeviceMessage>;
}

/** Without remapping hardware: the message names the CPU itself. */
export const directComposer: MessageComposer = {
  // biome-ignore lint/correctness/useYield: others need a processor for it
  *compose(_requester, _index, target) {
    return composeMessage(target);
  },
};
