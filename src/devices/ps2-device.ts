/**
 * What a keyboard controller and a device on its serial link (keyboard or mouse) know of each other.
 */
export interface Ps2Device {
  /** The controller sends a byte. */
  send(byte: number): void;
  /** Bytes that wait for the controller to take them. */
  readonly waiting: number;
  /** Takes the next byte; only when {@link waiting} is not 0. */
  take(): number;
  /** `listener` is called whenever bytes were added. */
  onWaiting(listener: () => void): void;
}

/** Bytes that keyboard and mouse answer with. */
export const PS2 = { ack: 0xfa, resend: 0xfe, testPassed: 0xaa, echo: 0xee } as const;
