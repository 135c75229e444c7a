/** Runs scenarios in tests. */
import { HostError } from "../base/assert.ts";
import { MIB, type Ns } from "../base/units.ts";
import type { TraceListener } from "../sim/trace.ts";
import type { Exit } from "./exit.ts";
import { scenario, ScriptedMachine, type ScenarioOptions } from "./scenario.ts";

export type Event = {
  time: Ns;
  kind: number;
  subject: number;
  a: number;
  b: number;
  c: number;
  id: number;
  cause: number;
};
export type Run = { machine: ScriptedMachine; exit: Exit; hash: string; events: Event[]; serial: string };

/** Runs to the end; `kinds` of events are kept. */
export function runScenario(
  options: ScenarioOptions,
  setUp: (machine: ScriptedMachine) => void,
  kinds: readonly number[] = [],
): Run {
  let serial = "";
  const onSerial = (byte: number): void => {
    serial += String.fromCharCode(byte);
  };
  const machine = new ScriptedMachine(scenario({ memory: 8 * MIB, ...options }, setUp), { onSerial });
  const events: Event[] = [];
  const listener: TraceListener = {
    event: (time, kind, subject, a, b, c, id, cause) => void events.push({ time, kind, subject, a, b, c, id, cause }),
  };
  machine.pc.trace.listen(listener, kinds);
  let exit: Exit | null = null;
  for (let turn = 0; exit === null; turn++) {
    if (turn > 10_000) throw new HostError("the scenario does not end", 72);
    exit = machine.pc.run(machine.pc.retired + 100_000_000, 60e9);
    if (exit === null && machine.pc.clock.now() >= 60e9) throw new HostError("a minute of virtual time is over", 72);
  }
  return { machine, exit, hash: machine.pc.stateHash(), events, serial };
}
