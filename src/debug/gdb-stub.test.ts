/** The protocol engine against a target that only notes what is asked of it. GDB manual, "Remote Serial Protocol": Packets, Stop Reply Packets. */
import { beforeEach, describe, expect, test } from "vitest";
import { GdbStub } from "./gdb-stub.ts";
import { framed, textOf } from "./packets.ts";
import type { Action, DebugTarget } from "./target.ts";

class FakeTarget implements DebugTarget {
  readonly cpuCount = 2;
  readonly current = 0;
  readonly xml = "<target>0123456789</target>";
  readonly registerSizes = [8, 4];
  stepFlags = 7;
  physical = false;
  readonly log: string[] = [];
  readonly registers = [Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), Uint8Array.of(9, 10, 11, 12)];
  actions: readonly Action[] = [];

  readRegister(cpu: number, register: number): Uint8Array {
    this.log.push(`read ${cpu}.${register}`);
    return this.registers[register]!;
  }
  writeRegister(cpu: number, register: number, bytes: Uint8Array): boolean {
    this.log.push(`write ${cpu}.${register}=${bytes.join(",")}`);
    return register === 0;
  }
  readMemory(cpu: number, address: number, length: number): Uint8Array | null {
    this.log.push(`memory ${cpu} ${address}+${length}`);
    return address === 0 ? null : Uint8Array.of(0xde, 0xad).subarray(0, length);
  }
  writeMemory(_cpu: number, address: number, bytes: Uint8Array): boolean {
    this.log.push(`store ${address} ${bytes.join(",")}`);
    return address !== 0;
  }
  addStop(kind: number, address: number, length: number): boolean {
    this.log.push(`add ${kind} ${address} ${length}`);
    return address !== 0;
  }
  removeStop(kind: number, address: number, length: number): boolean {
    this.log.push(`remove ${kind} ${address} ${length}`);
    return true;
  }
  resume(actions: readonly Action[]): void {
    this.actions = actions;
  }
  interrupt(): void {
    this.log.push("interrupt");
  }
  threadInfo(cpu: number): string {
    return `CPU ${cpu} halted`;
  }
  monitor(line: string): string {
    return `heard ${line}\n`;
  }
  detach(): void {
    this.log.push("detach");
  }
  kill(): void {
    this.log.push("kill");
  }
}

let target: FakeTarget;
let stub: GdbStub;
let sent: string[];
beforeEach(() => {
  target = new FakeTarget();
  sent = [];
  stub = new GdbStub(target, bytes => sent.push(textOf(bytes)));
});

/** Payloads of the replies to a packet. */
function ask(payload: string): string[] {
  sent = [];
  stub.receive(framed(payload));
  return replies();
}
const replies = (): string[] => sent.filter(text => text.startsWith("$")).map(text => text.slice(1, -3));
const hex = (text: string): string => Buffer.from(text).toString("hex");

describe("connection", () => {
  test("every packet is acknowledged until QStartNoAckMode, whose own answer still is", () => {
    ask("?");
    expect(sent[0]).toBe("+");
    ask("QStartNoAckMode");
    expect(sent).toEqual(["+", "$OK#9a"]);
    ask("?");
    expect(sent).toEqual(["$T05thread:1;#d7"]);
  });
  test("- sends the last reply again", () => {
    ask("qC");
    sent = [];
    stub.receive(Uint8Array.of(0x2d));
    expect(sent).toEqual(["$QC1#c5"]);
  });
  test("what is not known gets the empty reply, as do reverse execution and vMustReplyEmpty", () => {
    for (const packet of ["vMustReplyEmpty", "bs", "bc", "qTStatus", "!"]) expect(ask(packet)).toEqual([""]);
  });
  test("qSupported names the features that the protocol asks to be named", () => {
    const [features] = ask("qSupported:multiprocess+;swbreak+;hwbreak+;vContSupported+");
    expect(features!.split(";")).toEqual(
      expect.arrayContaining(["QStartNoAckMode+", "qXfer:features:read+", "swbreak+", "hwbreak+", "vContSupported+"]),
    );
  });
  test("qXfer gives the description in pieces: m while there is more, l for the last", () => {
    expect(ask("qXfer:features:read:target.xml:0,8")).toEqual(["m<target>"]);
    expect(ask("qXfer:features:read:target.xml:8,ff")).toEqual(["l0123456789</target>"]);
    expect(ask("qXfer:features:read:other.xml:0,8")).toEqual(["E00"]);
  });
});

describe("registers and memory", () => {
  test("g is all registers in target byte order, p one", () => {
    expect(ask("g")).toEqual(["0102030405060708090a0b0c"]);
    expect(ask("p1")).toEqual(["090a0b0c"]);
    expect(ask("p2")).toEqual(["E14"]);
  });
  test("P writes one, G all; a refusal is an error", () => {
    expect(ask("P0=1112131415161718")).toEqual(["OK"]);
    expect(ask("P1=01020304")).toEqual(["E14"]);
    expect(ask("P1=0102")).toEqual(["E01"]);
    expect(target.log).toEqual(["write 0.0=17,18,19,20,21,22,23,24", "write 0.1=1,2,3,4"]);
    expect(ask("G1112131415161718")).toEqual(["OK"]);
  });
  test("m reads, perhaps less than was asked for; M and X write", () => {
    expect(ask("m1000,2")).toEqual(["dead"]);
    expect(ask("mffffffff81000000,1")).toEqual(["de"]);
    expect(ask("m0,4")).toEqual(["E14"]);
    expect(ask("M1000,2:beef")).toEqual(["OK"]);
    expect(ask("X2000,3:#}*")).toEqual(["OK"]);
    expect(ask("X2000,0:")).toEqual(["OK"]);
    expect(ask("M1000,3:beef")).toEqual(["E01"]);
    expect(target.log).toContain("memory 0 -2130706432+1");
    expect(target.log).toContain("store 4096 190,239");
    expect(target.log).toContain("store 8192 35,125,42");
  });
  test("Hg chooses whose; 0 is any", () => {
    expect(ask("Hg2")).toEqual(["OK"]);
    ask("p0");
    expect(target.log).toEqual(["read 1.0"]);
    expect(ask("Hg3")).toEqual(["E01"]);
    expect(ask("Hg0")).toEqual(["OK"]);
  });
  test("addresses are physical after QEMU's packet says so", () => {
    expect(ask("qqemu.PhyMemMode")).toEqual(["0"]);
    expect(ask("Qqemu.PhyMemMode:1")).toEqual(["OK"]);
    expect(target.physical).toBe(true);
  });
});

describe("stops", () => {
  test("Z0 to Z4 and z0 to z4", () => {
    for (const kind of [0, 1, 2, 3, 4]) {
      expect(ask(`Z${kind},1000,4`)).toEqual(["OK"]);
      expect(ask(`z${kind},1000,4`)).toEqual(["OK"]);
    }
    expect(target.log.slice(0, 2)).toEqual(["add 0 4096 4", "remove 0 4096 4"]);
    expect(ask("Z1,0,1")).toEqual(["E14"]);
    expect(ask("Z5,1000,1")).toEqual([""]);
  });
  test("a stop is told once, to a debugger that waits for it; swbreak only to one that knows it", () => {
    const stop = { cpu: 1, signal: 5, why: "swbreak", address: 0 } as const;
    ask("c");
    sent = [];
    stub.stopped(stop);
    stub.stopped(stop);
    expect(replies()).toEqual(["T05thread:2;"]);
    ask("qSupported:swbreak+");
    expect(ask("?")).toEqual(["T05thread:2;swbreak:;"]);
  });
  test("a watch tells its address", () => {
    ask("c");
    sent = [];
    stub.stopped({ cpu: 0, signal: 5, why: "rwatch", address: -0x1000 });
    expect(replies()).toEqual(["T05thread:1;rwatch:fffffffffffff000;"]);
  });
  test("0x03 interrupts a running machine, and nothing else is answered meanwhile", () => {
    stub.receive(Uint8Array.of(3));
    expect(target.log).toEqual([]);
    ask("c");
    expect(ask("g")).toEqual([]);
    stub.receive(Uint8Array.of(3));
    expect(target.log).toEqual(["interrupt"]);
  });
  test("the end is W and the exit status", () => {
    ask("c");
    sent = [];
    stub.exited(0);
    expect(replies()).toEqual(["W00"]);
  });
});

describe("going on", () => {
  test("vCont: the leftmost action that names a thread counts; who is not named stands", () => {
    ask("vCont;s:1;c");
    expect(target.actions).toEqual(["step", "go"]);
    stub.stopped({ cpu: 0, signal: 5, why: "signal", address: 0 });
    ask("vCont;s:2");
    expect(target.actions).toEqual(["stand", "step"]);
    stub.stopped({ cpu: 0, signal: 5, why: "signal", address: 0 });
    ask("vCont;C05:2;c");
    expect(target.actions).toEqual(["go", "go"]);
  });
  test("vCont? names what there is; an action that is not there is refused", () => {
    expect(ask("vCont?")).toEqual(["vCont;c;C;s;S"]);
    expect(ask("vCont;t")).toEqual(["E01"]);
  });
  test("s steps the thread that Hc chose", () => {
    ask("Hc2");
    ask("s");
    expect(target.actions).toEqual(["go", "step"]);
  });
  test("D detaches, k and vKill end the run", () => {
    expect(ask("D")).toEqual(["OK"]);
    expect(ask("k")).toEqual([]);
    expect(ask("vKill;1")).toEqual(["OK"]);
    expect(target.log).toEqual(["detach", "kill", "kill"]);
  });
});

describe("threads and monitor", () => {
  test("one thread per CPU", () => {
    expect(ask("qfThreadInfo")).toEqual(["m1,2"]);
    expect(ask("qsThreadInfo")).toEqual(["l"]);
    expect(ask("qThreadExtraInfo,2")).toEqual([hex("CPU 1 halted")]);
    expect(ask("T2")).toEqual(["OK"]);
    expect(ask("T3")).toEqual(["E01"]);
  });
  test("qRcmd prints through O packets, then OK", () => {
    expect(ask(`qRcmd,${hex("lapic 1")}`)).toEqual([`O${hex("heard lapic 1\n")}`, "OK"]);
  });
  test("QEMU's step flags", () => {
    expect(ask("qqemu.sstepbits")).toEqual(["ENABLE=1,NOIRQ=2,NOTIMER=4"]);
    expect(ask("qqemu.sstep")).toEqual(["0x7"]);
    expect(ask("Qqemu.sstep=0x1")).toEqual(["OK"]);
    expect(target.stepFlags).toBe(1);
  });
});
