/**
 * IN and OUT where privilege alone allows them (Intel SDM vol. 1, 18.5; vol. 2). The permission bitmap and I/O breakpoints are the TypeScript helpers'
 * affair (system/io.ts).
 */
import { c32, type Ex, i32 } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import { FLAG } from "../../state.ts";
import { GP_SIZES, type InstructionSet } from "../define.ts";
import type { Ops, Size } from "../ops.ts";

/** CPL ≤ IOPL outside virtual-8086 mode, and no breakpoint enabled. */
function plain(o: Ops): Ex {
  const flags = o.let(i32.load(o.cpu, L.FLAG_OTHER));
  const privileged = i32.leU(i32.load(o.cpu, L.CPL), i32.and(i32.shrU(flags, c32(12)), c32(3)));
  const hindered = i32.or(i32.and(flags, c32(FLAG.vm)), i32.and(i32.load(o.cpu, L.DR7), c32(0xff)));
  return i32.and(privileged, i32.eqz(hindered));
}

/** There are no 64-bit ports: REX.W changes nothing. */
const portSize = (size: Size): Size => (size === 64 ? 32 : size);

export function definePorts(set: InstructionSet): void {
  set.twin("in_imm", "in_dx", "out_imm", "out_dx");
  for (const form of ["imm", "dx"] as const) {
    const port = (o: Ops): Ex => (form === "imm" ? i32.and(o.field32(L.REC.imm), c32(0xff)) : o.getGpr(L.REG.rdx, 16));
    set.define(`in_${form}`, GP_SIZES, "none", (o, given) => {
      const size = portSize(given);
      o.f.if(i32.eqz(plain(o)), () => o.helper(`in_${form}`));
      o.setGpr(0, size, o.let(o.f.call(o.rt.portIn, o.cpu, port(o), c32(size / 8))));
      o.next();
    });
    set.define(
      `out_${form}`,
      GP_SIZES,
      "none",
      (o, given) => {
        const size = portSize(given);
        o.f.if(i32.eqz(plain(o)), () => o.helper(`out_${form}`));
        const changed = o.f.call(o.rt.portOut, o.cpu, port(o), c32(size / 8), o.getGpr(0, size));
        // The map of physical memory is another one now.
        o.f.if(changed, () => {
          o.f.store64(o.cpu, L.RIP, o.let(o.legacy ? o.wrapRip(o.nextRip(), 32) : o.nextRip()));
          o.f.store32(o.cpu, L.RECORD, o.rec);
          o.f.return(c32(L.EXIT.changed));
        });
        o.next();
      },
      true,
    );
  }
}
