/**
 * What the user types after options: sizes, spans of time, counts, CPU features. Every refusal is one line.
 */
import * as v from "valibot";
import { GIB, KIB, MIB } from "../base/units.ts";
import { LINUX_ENTRIES } from "../firmware/boot-plan.ts";
import { OPTIONAL_PARTS } from "../machine/board-facts.ts";

const UNITS: { readonly [unit: string]: number } = { K: KIB, M: MIB, G: GIB };
const TIMES: { readonly [unit: string]: number } = { ns: 1, us: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

const safe = v.check((n: number) => Number.isSafeInteger(n), "is too large");

/** `256M`, `1G`, `65536K` in bytes. */
export const Size = v.pipe(
  v.string(),
  v.regex(/^\d+(\.\d+)?[KMG]$/i, "is no size such as 256M or 1G"),
  v.transform(text => Math.round(Number.parseFloat(text) * UNITS[text.slice(-1).toUpperCase()]!)),
  safe,
);

/** `10s`, `1.5ms`, `200ns` in ns. */
export const Duration = v.pipe(
  v.string(),
  v.regex(/^\d+(\.\d+)?(ns|us|ms|s|m|h)$/, "is no time such as 10s, 500ms or 2m"),
  v.transform(text => Math.round(Number.parseFloat(text) * TIMES[text.replace(/^[\d.]+/, "")]!)),
  v.check(ns => ns > 0, "must be more than nothing"),
  safe,
);

/** `1000000` or `1_000_000`. */
export const Count = v.pipe(
  v.string(),
  v.regex(/^\d[\d_]*$/, "is no whole number from 0 up"),
  v.transform(text => Number(text.replaceAll("_", ""))),
  safe,
);
export const PositiveCount = v.pipe(
  Count,
  v.check(n => n > 0, "must be at least 1"),
);

/** A TCP port; 0 for any that is free. */
export const Port = v.pipe(
  Count,
  v.check(n => n <= 65535, "is no port from 0 to 65535"),
);

/** A path, not looked at yet. */
export const FileName = v.pipe(
  v.string(),
  v.check(text => text.trim() !== "", "is no file name"),
);

/** Name of a cost table. */
export const Costs = v.picklist(["fixed", "desktop", "server"], "must be fixed, desktop or server");

export const Vendor = v.picklist(["GenuineIntel", "AuthenticAMD"], "must be GenuineIntel or AuthenticAMD");

/** A way into a Linux kernel; null for `auto`. */
export const Entry = v.pipe(
  v.picklist(["auto", ...LINUX_ENTRIES], `must be auto, ${LINUX_ENTRIES.join(", ")}`),
  v.transform(text => (text === "auto" ? null : text)),
);

/** `+name,-name`. */
export const Features = v.pipe(
  v.string(),
  v.transform(text => text.split(",")),
  v.array(v.pipe(v.string(), v.regex(/^[+-][\w.]+$/, "must be a list of +name and -name"))),
);

/** `hpet,pm-timer`. */
export const Without = v.pipe(
  v.string(),
  v.transform(text => text.split(",")),
  v.array(v.picklist(OPTIONAL_PARTS, `must be a list of ${OPTIONAL_PARTS.join(", ")}`)),
);

/** Parses `text` or gives the reason as one line: `--memory: "12" is no size …`. */
export function parseValue<T>(schema: v.GenericSchema<unknown, T>, option: string, text: string): T {
  const result = v.safeParse(schema, text);
  if (result.success) return result.output;
  throw new ValueError(`${option}: "${text}" ${result.issues[0].message}`);
}

/** A value that the user typed is wrong. */
export class ValueError extends Error {}
