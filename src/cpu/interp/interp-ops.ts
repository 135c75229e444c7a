/**
 * The interpreter's back end: fields are read from the decoded record at run time, and control goes on by a tail call to the next record's handler.
 */
import { c32, type Ex, i32, i64 } from "../emit/expr.ts";
import type { FunctionBuilder } from "../emit/wasm.ts";
import { Ops } from "../isa/ops.ts";
import * as L from "../layout.ts";

/** Ends the run when no instruction is left, else counts one and runs the handler of `record`. */
export function dispatch(f: FunctionBuilder, handlerType: number, cpu: Ex, record: Ex): void {
  const left = f.let(i32.load(cpu, L.COUNT));
  f.if(i32.eqz(left), () => {
    f.store32(cpu, L.RECORD, record);
    f.return(c32(L.EXIT.budget));
  });
  f.store32(cpu, L.COUNT, i32.sub(left, c32(1)));
  f.returnCallIndirect(handlerType, i32.load16u(record, L.REC.handler), cpu, record);
}

export class InterpOps extends Ops {
  override field8(offset: number): Ex {
    return i32.load8u(this.rec, offset);
  }
  override field16(offset: number): Ex {
    return i32.load16u(this.rec, offset);
  }
  override field32(offset: number): Ex {
    return i32.load(this.rec, offset);
  }
  override field64(offset: number): Ex {
    return i64.load(this.rec, offset);
  }
  override next(): void {
    dispatch(this.f, this.rt.handlerType, this.cpu, this.let(i32.add(this.rec, c32(L.RECORD_SIZE))));
  }
  override continueWithin(): void {
    const next = this.let(i32.add(this.rec, c32(L.RECORD_SIZE)));
    this.f.returnCallIndirect(this.rt.handlerType, i32.load16u(next, L.REC.handler), this.cpu, next);
  }
  override repeat(): void {
    dispatch(this.f, this.rt.handlerType, this.cpu, this.rec);
  }
  override jumpTarget(rip: Ex): void {
    const target = this.let(this.field32(L.REC.target));
    const look = (): void => {
      this.f.store64(this.cpu, L.RIP, rip);
      this.f.store32(this.cpu, L.RECORD, this.rec);
      this.f.return(c32(L.EXIT.lookup));
    };
    this.f.if(i32.eqz(target), look);
    if (this.legacy) {
      // The instruction pointer wraps inside a page only where the segment's base lies inside one.
      this.f.if(i32.and(i32.load(this.cpu, L.RIP_PAGE), c32(0xfff)), () => {
        this.f.if(i64.ne(rip, i64.add(i64.load(this.cpu, L.RIP_PAGE), this.field64(L.REC.imm))), look);
      });
    }
    dispatch(this.f, this.rt.handlerType, this.cpu, target);
  }
  override follow(): void {
    dispatch(this.f, this.rt.handlerType, this.cpu, this.let(this.field32(L.REC.target)));
  }
}
