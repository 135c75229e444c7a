/**
 * Guest RAM as bytes that many share: processors read and write it directly, other writers tell about the pages whose decoded code they overwrite.
 */
export interface RamView {
  /** All of RAM; index 0 is physical address 0 of the RAM (holes in the address map are the address space's affair). */
  readonly bytes: Uint8Array;
  /** Byte offset of RAM inside its ArrayBuffer (a WebAssembly memory). */
  readonly base: number;
  /** One byte per 4 KiB page, not 0 when a processor holds decoded code of that page. */
  readonly codePages: Uint8Array;
  /** Must be called after a write by anybody but a processor to a page whose `codePages` byte is set. Page = RAM offset / 4096. */
  invalidateCode(page: number): void;
}
