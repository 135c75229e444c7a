/**
 * `--gdb PORT`: a TCP server on 127.0.0.1 in front of the protocol engine in debug/. One debugger at a time. The machine waits for the first one; each that
 * connects stops it, and one that goes away, with or without a word, lets it go on. Bytes are taken in by {@link GdbServer.serve} only, between two
 * turns of the run, never in the middle of one.
 */
import { createServer, type Server, type Socket } from "node:net";
import { HostError } from "../base/assert.ts";
import type { Ns } from "../base/units.ts";
import { GdbStub } from "../debug/gdb-stub.ts";
import { PcTarget } from "../debug/pc-target.ts";
import type { EventNames } from "../export/names.ts";
import { type Exit, STATUS } from "../machine/exit.ts";
import type { Pc } from "../machine/pc.ts";
import { reasonOf } from "./files.ts";

const HOST = "127.0.0.1";

export class GdbServer {
  readonly #target: PcTarget;
  readonly #say: (line: string) => void;
  readonly #server: Server;
  #socket: Socket | null = null;
  #stub: GdbStub | null = null;
  /** What sockets told, in order, until {@link serve}. */
  #arrived: (() => void)[] = [];
  #wake: (() => void) | null = null;

  /**
   * @param hasKeys the user can type
   * @param say a line for the user
   */
  constructor(pc: Pc, names: EventNames, hasKeys: boolean, say: (line: string) => void) {
    this.#say = say;
    this.#target = new PcTarget(pc, names, {
      hasKeys,
      stopped: reason => this.#stub?.stopped(reason),
      say: text => {
        this.#say(`gdb: stopped: ${text}`);
        this.#stub?.say(text);
      },
    });
    this.#server = createServer(socket => this.#connected(socket));
  }

  /** @param port 0: any. Throws {@link HostError} 74 when it cannot be had. */
  async listen(port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", error => {
        reject(new HostError(`--gdb: cannot listen on ${HOST}:${port}: ${reasonOf(error)}`, STATUS.io));
      });
      this.#server.listen(port, HOST, resolve);
    });
    const address = this.#server.address();
    const bound = address !== null && typeof address === "object" ? address.port : port;
    this.#say(`gdb: waiting on ${HOST}:${bound}, target remote :${bound}`);
  }

  /** The machine stands still. */
  get standing(): boolean {
    return this.#target.standing;
  }

  /** The debugger asked for the end of the run. */
  get killed(): boolean {
    return this.#target.killed;
  }

  /** As {@link Pc.run}, until the debugger wants a stop. */
  run(untilRetired: number, untilNs: Ns): Exit | null {
    return this.#target.run(untilRetired, untilNs);
  }

  /** Answers what has come from the debugger. */
  serve(): void {
    const arrived = this.#arrived;
    this.#arrived = [];
    for (const handle of arrived) handle();
  }

  /** Resolves when something came, or after `ms`. */
  async wait(ms: number): Promise<void> {
    if (this.#arrived.length > 0) return;
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = null;
  }

  /** The run is over. @param status null: it ended by an error of ours or the host's */
  async close(status: number | null): Promise<void> {
    this.#server.close();
    const socket = this.#socket;
    if (socket === null) return;
    this.#socket = null;
    if (status !== null && !this.#target.killed) this.#stub?.exited(status);
    await new Promise<void>(resolve => {
      if (socket.destroyed) resolve();
      else socket.once("close", () => resolve()).end(() => resolve());
    });
    socket.unref();
  }

  #later(handle: () => void): void {
    this.#arrived.push(handle);
    this.#wake?.();
  }

  #connected(socket: Socket): void {
    if (this.#socket !== null) {
      socket.on("error", () => {}).destroy();
      this.#say("gdb: another debugger was refused, one is connected");
      return;
    }
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("error", () => socket.destroy());
    socket.on("data", (bytes: Buffer) => this.#later(() => this.#stub?.receive(bytes)));
    socket.on("close", () => this.#later(() => this.#gone(socket)));
    this.#later(() => {
      this.#target.attach();
      this.#stub = new GdbStub(this.#target, bytes => {
        if (!socket.destroyed) socket.write(bytes);
      });
    });
  }

  #gone(socket: Socket): void {
    if (socket !== this.#socket) return;
    this.#socket = null;
    this.#stub = null;
    if (this.#target.killed) return;
    const word = this.#target.detached ? "detached" : "the debugger has gone";
    if (!this.#target.detached) this.#target.detach();
    this.#say(`gdb: ${word}, the machine goes on`);
  }
}
