/**
 * A medium that a disk, CD or floppy controller reads and writes: bytes with a fixed length. Where they come from (a file of the host, an overlay in
 * memory) the controller does not know.
 */
export interface BlockMedium {
  readonly name: string;
  /** Length in bytes; controllers offer the whole sectors of it. */
  readonly bytes: number;
  readonly readOnly: boolean;
  /** Fills `into` from `offset` with `length` bytes that lie at byte `position`. Throws HostError when the host cannot read them. */
  read(position: number, into: Uint8Array, offset: number, length: number): void;
  /** Not to be called when read-only. */
  write(position: number, from: Uint8Array, offset: number, length: number): void;
  /** The guest wants what it wrote to be durable. */
  flush(): void;
}
