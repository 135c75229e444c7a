/**
 * The PCI Express capability, version 2, with function level reset. PCI Express Base Specification 3.0, 7.8 and 6.6.2.
 *
 * Decisions: 128-byte payloads; the link of a port or endpoint is trained at 2.5 GT/s, one lane. Not modelled: errors (status bits stay 0), slots and
 * hot-plug, PME messages, completion timeouts (the bits can be written and do nothing).
 */
import {
  DEVICE_CAPABILITIES,
  DEVICE_CONTROL,
  DEVICE_CONTROL2_WRITABLE,
  DEVICE_STATUS_CLEARS,
  EXPRESS,
  EXPRESS_BYTES,
  EXPRESS_CAPABILITIES,
  EXPRESS_TYPE,
  LINK_CAPABILITIES,
  LINK_CONTROL_WRITABLE,
  LINK_STATUS,
  ROOT_CONTROL_WRITABLE,
} from "./capabilities.regs.ts";
import { CAPABILITY, type ConfigField } from "./config-space.regs.ts";
import type { ConfigSpace } from "./config-space.ts";

export type ExpressOptions = {
  readonly type: keyof typeof EXPRESS_TYPE;
  /** Function level reset; not for ports. */
  readonly functionReset?: boolean;
  /** Of a root port. */
  readonly port?: number;
  readonly at?: number;
};

const VERSION = 2;
/** Default of Device Control: relaxed ordering, no snoop, 512-byte read requests (7.8.4). */
const DEVICE_CONTROL_RESET =
  DEVICE_CONTROL.relaxedOrdering.mask | DEVICE_CONTROL.noSnoop.mask | DEVICE_CONTROL.maxReadRequest.put(0, 2);
const DEVICE_CONTROL_WRITABLE =
  DEVICE_CONTROL.errors.mask |
  DEVICE_CONTROL.relaxedOrdering.mask |
  DEVICE_CONTROL.maxPayload.mask |
  DEVICE_CONTROL.noSnoop.mask |
  DEVICE_CONTROL.maxReadRequest.mask;

function fieldsOf(options: ExpressOptions): ConfigField[] {
  const type = EXPRESS_TYPE[options.type];
  const reset = options.functionReset === true;
  const { version, type: typeField } = EXPRESS_CAPABILITIES;
  const link = options.type !== "integratedEndpoint";
  const capabilities = DEVICE_CAPABILITIES.roleBasedErrors.mask | (reset ? DEVICE_CAPABILITIES.functionReset.mask : 0);
  const fields: ConfigField[] = [
    {
      name: "PCIe capabilities",
      offset: EXPRESS.capabilities,
      size: 2,
      value: typeField.put(version.put(0, VERSION), type),
    },
    { name: "device capabilities", offset: EXPRESS.deviceCapabilities, size: 4, value: capabilities },
    {
      name: "device control",
      offset: EXPRESS.deviceControl,
      size: 2,
      value: DEVICE_CONTROL_RESET,
      writable: DEVICE_CONTROL_WRITABLE | (reset ? DEVICE_CONTROL.functionReset.mask : 0),
    },
    { name: "device status", offset: EXPRESS.deviceStatus, size: 2, clears: DEVICE_STATUS_CLEARS },
    { name: "device control 2", offset: EXPRESS.deviceControl2, size: 2, writable: DEVICE_CONTROL2_WRITABLE },
  ];
  if (link) {
    const { speed, width, port } = LINK_CAPABILITIES;
    const value = port.put(width.put(speed.put(0, 1), 1), options.port ?? 0);
    const status = LINK_STATUS.width.put(LINK_STATUS.speed.put(0, 1), 1);
    fields.push({ name: "link capabilities", offset: EXPRESS.linkCapabilities, size: 4, value });
    fields.push({ name: "link control", offset: EXPRESS.linkControl, size: 2, writable: LINK_CONTROL_WRITABLE });
    fields.push({ name: "link status", offset: EXPRESS.linkStatus, size: 2, value: status });
  }
  if (options.type === "rootPort")
    fields.push({ name: "root control", offset: EXPRESS.rootControl, size: 2, writable: ROOT_CONTROL_WRITABLE });
  return fields;
}

export class Express {
  readonly offset: number;
  readonly #space: ConfigSpace;

  constructor(space: ConfigSpace, options: ExpressOptions) {
    this.#space = space;
    this.offset = space.addCapability(CAPABILITY.express, EXPRESS_BYTES, options.at);
    for (const field of fieldsOf(options)) space.define({ ...field, offset: this.offset + field.offset });
  }

  /** True when the write just made asks for a function level reset; the bit reads 0 always (7.8.4, bit 15). */
  takeFunctionReset(): boolean {
    const at = this.offset + EXPRESS.deviceControl;
    const control = this.#space.read(at, 2);
    if (!DEVICE_CONTROL.functionReset.on(control)) return false;
    this.#space.put(at, 2, DEVICE_CONTROL.functionReset.put(control, 0));
    return true;
  }

  /** What a function level reset must not touch (6.6.2): maximum payload size and the link's registers. Returns how to put it back. */
  keep(): () => void {
    const control = this.#space.read(this.offset + EXPRESS.deviceControl, 2);
    const link = this.#space.read(this.offset + EXPRESS.linkControl, 2);
    return () => {
      const at = this.offset + EXPRESS.deviceControl;
      const { maxPayload } = DEVICE_CONTROL;
      this.#space.put(at, 2, maxPayload.put(this.#space.read(at, 2), maxPayload.of(control)));
      this.#space.put(this.offset + EXPRESS.linkControl, 2, link);
    };
  }
}
