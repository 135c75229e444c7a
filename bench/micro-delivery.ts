/** Micro-benchmark of the processor's system helpers: INT 0x80 from ring 3 in 64-bit mode with its IRETQ, local APIC reads, CR3 flushes, TLB misses. */
import * as L from "../src/cpu/layout.ts";
import { KIND } from "../src/cpu/system/delivery-kind.ts";
import { AT, SEL, SystemFixture } from "../src/cpu/system/segmentation-fixture.ts";

/** Nanoseconds per round: the best of many short batches, so that other work on the machine disturbs little. */
function measure(name: string, rounds: number, body: () => void): void {
  for (let i = 0; i < rounds; i++) body();
  const batch = 2000;
  let best = Number.POSITIVE_INFINITY;
  for (let done = 0; done < rounds; done += batch) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < batch; i++) body();
    best = Math.min(best, Number(process.hrtime.bigint() - start) / batch);
  }
  console.log(`${name.padEnd(44)} ${best.toFixed(1)} ns`);
}

const f = new SystemFixture().longMode(3);
f.bus.logging = false;
f.longGate(AT.idt + 0x80 * 16, SEL.long0, 0x9000, 0xee);
f.rip = 0x5000;
f.rsp = 0x7000;
f.state.u8[f.record + L.REC.prefix] = L.PFX.opSize64;
f.state.u8[f.record + L.REC.length] = 2;
const iret = f.helpers.iret!;
measure("INT 0x80 ring 3 to 0 and IRETQ, 64-bit", 1_000_000, () => {
  f.delivery.softwareInterrupt(0x80, KIND.softwareInt, 0x5002);
  iret(f.record);
});
if (f.rip !== 0x5002 || f.state.cpl !== 3) throw new Error("the round trip went astray");

const k = new SystemFixture().longMode(0);
k.poke(0x3000 + 8, 0xfee00083, 0);
k.state.setNum(L.SLOW_ADDRESS, 0x200080);
measure("slowLoad of a local APIC register", 4_000_000, () => {
  k.mmu.slowLoad(L.SEG.ds, 4);
});
measure("slowStore of a local APIC register", 4_000_000, () => {
  k.mmu.slowStore(L.SEG.ds, 4);
});
measure("CR3 flush and 8 TLB misses", 200_000, () => {
  k.mmu.tlb.flushNonGlobal();
  for (let page = 0; page < 8; page++) k.mmu.read32(0x10000 + page * 4096);
});
const p = new SystemFixture().longMode(3);
p.longGate(AT.idt + 14 * 16, SEL.long0, 0x9000, 0x8e);
p.rip = 0x5000;
p.rsp = 0x7000;
p.state.u8[p.record + L.REC.prefix] = L.PFX.opSize64;
p.state.setNum(L.SLOW_ADDRESS, 0x600000);
measure("page fault: miss, delivery, IRETQ", 500_000, () => {
  if (p.mmu.slowLoad(L.SEG.ds, 4) === 0) throw new Error("no fault");
  p.exceptions.raise(p.mmu.faultVector, p.mmu.faultError, p.mmu.faultAddress);
  p.rsp += 8;
  p.helpers.iret!(p.record);
});
