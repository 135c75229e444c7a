/** The console device. VIRTIO 1.2, 5.3. */

/** Numbers of the feature bits (5.3.3). */
export const CONSOLE_F = { size: 0, multiport: 1, emergencyWrite: 2 } as const;
/** Queues of port 0 (5.3.2). */
export const CONSOLE_QUEUE = { receive: 0, transmit: 1 } as const;
/** Offsets in the device configuration (5.3.4). */
export const CONSOLE_CONFIG = { columns: 0, rows: 2, maxPorts: 4, emergencyWrite: 8 } as const;
export const CONSOLE_CONFIG_BYTES = 12;
