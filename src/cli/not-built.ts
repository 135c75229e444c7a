/**
 * Names the encodings that the guest used and that are not built. Which of them are instructions at all, and what they are called, a disassembler knows; it is
 * loaded only when there is something to name. What the manual leaves undefined is the guest's own affair: no note.
 */
import { FEATURES } from "../cpu/model.ts";

/** By CPU: encoding (`64:c5f9fec1`: code width, bytes) or name → times it was met. */
export type NotBuilt = readonly ReadonlyMap<string, number>[];

const LONGEST = 15;
const PREFIXES = new Set(["LOCK", "REP", "REPE", "REPNE", "REPZ", "REPNZ", "BND", "NOTRACK", "XACQUIRE", "XRELEASE"]);

/** Features of ours by the disassembler's spelling; the others are spelled alike but for case and underscores. */
const SPELLED: { readonly [name: string]: string } = { lzcnt: "abm", cmpxchg16b: "cx16" };

type Named = { readonly name: string; readonly feature: string | null };

/** Makes a function that names an encoding; null: undefined by the manual. */
async function makeNamer(): Promise<(width: number, bytes: Uint8Array) => Named | null> {
  const { CpuidFeature, Decoder, DecoderOptions, EncodingKind, Formatter, FormatterSyntax } = await import("iced-x86");
  const formatter = new Formatter(FormatterSyntax.Intel);
  formatter.uppercaseAll = true;
  const ours = new Map(Object.keys(FEATURES).map(name => [name.toLowerCase(), name]));
  const featureOf = (id: number): string | undefined => {
    const name = (CpuidFeature[id] ?? "").toLowerCase().replaceAll("_", "");
    return ours.get(SPELLED[name] ?? name);
  };
  return (width, bytes) => {
    const decoder = new Decoder(width, bytes, DecoderOptions.None);
    const instruction = decoder.decode();
    const words = formatter.format(instruction).split(/\s+/);
    const name = words.find(word => !PREFIXES.has(word)) ?? "";
    const [first] = instruction.cpuidFeatures();
    // VEX and EVEX are not built, whatever CPUID says.
    const feature = instruction.encoding === EncodingKind.Legacy ? (featureOf(first ?? -1) ?? null) : null;
    const named = instruction.isInvalid ? null : { name, feature };
    instruction.free();
    decoder.free();
    return named;
  };
}

const times = (count: number): string => (count === 1 ? "once" : count === 2 ? "twice" : `${count} times`);

/**
 * One sentence per instruction, by name. An encoding is padded with zeros to a whole instruction.
 * @param features what the CPU has
 */
export async function notBuiltNotes(met: NotBuilt, features: ReadonlySet<string>): Promise<string[]> {
  if (met.every(map => map.size === 0)) return [];
  const nameOf = await makeNamer();
  const byName = new Map<string, { feature: string | null; counts: Map<number, number> }>();
  met.forEach((encodings, cpu) => {
    for (const [encoding, count] of encodings) {
      const [, width, digits] = /^(16|32|64):([0-9a-f]+)$/.exec(encoding) ?? [];
      const bytes = new Uint8Array(LONGEST);
      if (digits !== undefined) bytes.set(Buffer.from(digits, "hex"));
      const named =
        width === undefined ? { name: encoding.toUpperCase(), feature: null } : nameOf(Number(width), bytes);
      if (named === null) continue;
      const entry = byName.get(named.name) ?? { feature: named.feature, counts: new Map<number, number>() };
      entry.counts.set(cpu, (entry.counts.get(cpu) ?? 0) + count);
      byName.set(named.name, entry);
    }
  });
  return [...byName]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { feature, counts }]) => {
      const who = [...counts].map(([cpu, count]) => `${times(count)} by CPU ${cpu}`).join(", ");
      const off = feature !== null && !features.has(feature);
      return off
        ? `instruction switched off: ${name} (met ${who}), it raised #UD; --cpu-feature +${feature} has it`
        : `instruction not built: ${name} (met ${who}), it raised #UD`;
    });
}
