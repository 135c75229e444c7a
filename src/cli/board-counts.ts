/**
 * What a machine's own counters say, for the report: remapping hardware, caches, the shared bus; and what the user should know of these.
 */
import type { BoardCounts } from "../export/report.ts";
import type { Pc } from "../machine/pc.ts";

export function boardCounts({ iommu, caches, bus, cpus }: Pc): BoardCounts {
  return {
    iommu: (iommu?.units ?? []).map(({ name, dma, interrupts }) => ({
      name,
      iotlbHits: dma.counts.hits,
      iotlbMisses: dma.counts.misses,
      faults: dma.counts.faults,
      remappedInterrupts: interrupts.counts.remapped,
      postedInterrupts: interrupts.counts.posted,
      blockedInterrupts: interrupts.counts.blocked,
      faultsNotRecorded: dma.counts.lost + interrupts.counts.lost,
    })),
    caches:
      caches === null
        ? []
        : cpus.map((_, cpu) => {
            const { l1, llc: lastLevel, otherCpu, memory, writeBacks, invalidated } = caches.counts(cpu);
            return { cpu, l1, lastLevel, otherCpu, memory, writeBacks, invalidated };
          }),
    bus:
      bus === null
        ? null
        : {
            policy: bus.spec.policy,
            bandwidth: bus.spec.bandwidth,
            shares: bus.accounts().map(({ waited, ...account }) => ({ ...account, waitedNs: waited })),
          },
  };
}

/** Sentences. */
export function boardNotes({ caches }: Pc): string[] {
  if (caches === null) return [];
  const { coherent, storeBuffer } = caches.spec;
  const kind = coherent ? "coherent with devices" : "not coherent with devices, which read and write behind them";
  const buffers = storeBuffer ? ", and a store buffer in each CPU" : "";
  return [`caches are modelled (${kind})${buffers}: the run takes several times as long on the host`];
}
