/**
 * `iretq`: the machine, for programs in TypeScript. A scenario's file exports by default what {@link scenario} makes, and `iretq run` runs it;
 * {@link ScriptedMachine} and {@link Pc} run the same in a test or a tool. What scripted cores execute is in `iretq/kernel`.
 *
 * @module
 */
export { HostError, ModelBug } from "./base/assert.ts";
export * from "./base/units.ts";
export { DmaStats } from "./check/dma-stats.ts";
export { InterruptStats } from "./check/interrupt-stats.ts";
export { makeReport, type Report, reportJson } from "./export/report.ts";
export { reportText } from "./export/report-text.ts";
export type { Exit, ExitKind } from "./machine/exit.ts";
export { Pc } from "./machine/pc.ts";
export type { PcOptions } from "./machine/pc-options.ts";
export {
  type Scenario,
  type ScenarioOptions,
  type ScenarioPlace,
  ScriptedMachine,
  scenario,
} from "./machine/scenario.ts";
export { COST_TABLES, describeCosts } from "./ports/cost-tables.ts";
export { EVENT, EVENTS } from "./ports/events.ts";
export type { Initiator } from "./ports/initiator.ts";
export type { LinePin } from "./ports/line.ts";
export type { Part } from "./ports/part.ts";
export type { CostTable, Routine, Task } from "./ports/task.ts";
export type { Window } from "./ports/window.ts";
export { Rng } from "./sim/rng.ts";
export type { TraceListener } from "./sim/trace.ts";
