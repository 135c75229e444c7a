/**
 * Writes WebAssembly functions and modules (WebAssembly Core Specification 2.0, chapter 5; tail calls: the tail-call proposal, merged in 3.0).
 */
import { assert } from "../../base/assert.ts";
import { Ex, leb, TY, type Ty } from "./expr.ts";

const utf8 = (text: string): number[] => [...text].map(c => c.charCodeAt(0));
const vec = (items: readonly (readonly number[])[]): number[] => [...leb(items.length), ...items.flat()];
const pushAll = (into: number[], bytes: readonly number[]): void => {
  for (let i = 0; i < bytes.length; i++) into.push(bytes[i]!);
};

/** A function's signature. */
export type Signature = { readonly params: readonly Ty[]; readonly result: Ty | null };
/** Something callable by its index in the module: an import or a function. */
export type FunctionRef = { readonly index: number; readonly signature: Signature };

/** Builds the body of one function. Statements take effect in the order of the calls. */
export class FunctionBuilder {
  readonly signature: Signature;
  readonly #code: number[] = [];
  readonly #locals: Ty[] = [];
  #depth = 0;

  constructor(signature: Signature) {
    this.signature = signature;
  }

  param(index: number): Ex {
    return new Ex(this.signature.params[index]!, [0x20, ...leb(index)]);
  }

  /** A new local variable, zero at first. */
  local(ty: Ty): Ex {
    this.#locals.push(ty);
    return new Ex(ty, [0x20, ...leb(this.signature.params.length + this.#locals.length - 1)]);
  }

  /** Evaluates `value` now; the result may be used many times. Constants stay constants. */
  let(value: Ex): Ex {
    if (value.k !== undefined) return value;
    const local = this.local(value.ty);
    this.set(local, value);
    return local;
  }

  set(local: Ex, value: Ex): void {
    assert(
      local.code[0] === 0x20 && local.ty === value.ty,
      "emit: assignment to something that is no local of that type",
    );
    this.#push(value.code);
    this.#push([0x21, ...local.code.slice(1)]);
  }

  store(op: number, address: Ex, offset: number, value: Ex): void {
    assert(address.ty === TY.i32 && offset >= 0, "emit: store address is no i32");
    this.#push(address.code);
    this.#push(value.code);
    this.#push([op, 0, ...leb(offset)]);
  }
  store8(address: Ex, offset: number, value: Ex): void {
    this.store(value.ty === TY.i64 ? 0x3c : 0x3a, address, offset, value);
  }
  store16(address: Ex, offset: number, value: Ex): void {
    this.store(value.ty === TY.i64 ? 0x3d : 0x3b, address, offset, value);
  }
  store32(address: Ex, offset: number, value: Ex): void {
    this.store(value.ty === TY.i64 ? 0x3e : 0x36, address, offset, value);
  }
  store64(address: Ex, offset: number, value: Ex): void {
    assert(value.ty === TY.i64, "emit: store64 of no i64");
    this.store(0x37, address, offset, value);
  }
  storeV128(address: Ex, offset: number, value: Ex): void {
    assert(value.ty === TY.v128, "emit: storeV128 of no vector");
    this.#push(address.code);
    this.#push(value.code);
    this.#push([0xfd, 11, 0, ...leb(offset)]);
  }
  /** Store of 1, 2, 4 or 8 bytes. */
  storeSize(size: number, address: Ex, offset: number, value: Ex): void {
    if (size === 1) this.store8(address, offset, value);
    else if (size === 2) this.store16(address, offset, value);
    else if (size === 4) this.store32(address, offset, value);
    else this.store64(address, offset, value);
  }

  if(condition: Ex, then: () => void, otherwise?: () => void): void {
    if (typeof condition.k === "number") {
      if (condition.k) then();
      else otherwise?.();
      return;
    }
    this.#push(condition.code);
    this.#push([0x04, 0x40]);
    this.#depth++;
    then();
    if (otherwise) {
      this.#push([0x05]);
      otherwise();
    }
    this.#depth--;
    this.#push([0x0b]);
  }

  /** `loop { body }`; inside, `again()` jumps to its start, falling through ends it. */
  loop(body: (again: (condition?: Ex) => void) => void): void {
    this.#labelled(0x03, body);
  }

  /** `block { body }`; inside, `leave()` jumps behind its end. */
  block(body: (leave: (condition?: Ex) => void) => void): void {
    this.#labelled(0x02, body);
  }

  #labelled(opcode: number, body: (jump: (condition?: Ex) => void) => void): void {
    this.#push([opcode, 0x40]);
    const level = ++this.#depth;
    body(condition => {
      const target = leb(this.#depth - level);
      if (condition) this.#push([...condition.code, 0x0d, ...target]);
      else this.#push([0x0c, ...target]);
    });
    this.#depth--;
    this.#push([0x0b]);
  }

  /** A call as an expression; `let` it. */
  call(target: FunctionRef, ...args: Ex[]): Ex {
    this.#checkArgs(target.signature, args);
    return new Ex(target.signature.result ?? TY.i32, [...args.flatMap(a => a.code), 0x10, ...leb(target.index)]);
  }
  /** A call for its effect. */
  do(call: Ex, hasResult: boolean): void {
    this.#push(call.code);
    if (hasResult) this.#push([0x1a]);
  }
  return(value?: Ex): void {
    if (value) this.#push(value.code);
    this.#push([0x0f]);
  }
  returnCall(target: FunctionRef, ...args: Ex[]): void {
    this.#checkArgs(target.signature, args);
    for (const arg of args) this.#push(arg.code);
    this.#push([0x12, ...leb(target.index)]);
  }
  /** Tail call through table 0. */
  returnCallIndirect(type: number, index: Ex, ...args: Ex[]): void {
    for (const arg of args) this.#push(arg.code);
    this.#push(index.code);
    this.#push([0x13, ...leb(type), 0]);
  }
  callIndirect(type: number, result: Ty, index: Ex, ...args: Ex[]): Ex {
    return new Ex(result, [...args.flatMap(a => a.code), ...index.code, 0x11, ...leb(type), 0]);
  }
  memoryCopy(to: Ex, from: Ex, bytes: Ex): void {
    this.#push([...to.code, ...from.code, ...bytes.code, 0xfc, 10, 0, 0]);
  }
  memoryFill(to: Ex, value: Ex, bytes: Ex): void {
    this.#push([...to.code, ...value.code, ...bytes.code, 0xfc, 11, 0]);
  }
  unreachable(): void {
    this.#push([0x00]);
  }

  /** The encoded body with its size. */
  finish(): number[] {
    assert(this.#depth === 0, "emit: a block is still open");
    const runs: number[][] = [];
    for (const ty of this.#locals) {
      const last = runs[runs.length - 1];
      if (last && last[1] === ty) last[0]!++;
      else runs.push([1, ty]);
    }
    const body = [...vec(runs.map(([n, ty]) => [...leb(n!), ty!]))];
    pushAll(body, this.#code);
    body.push(0x0b);
    return [...leb(body.length), ...body];
  }

  #checkArgs(signature: Signature, args: readonly Ex[]): void {
    assert(args.length === signature.params.length, "emit: wrong number of arguments");
    for (let i = 0; i < args.length; i++)
      assert(args[i]!.ty === signature.params[i], `emit: argument ${i} has the wrong type`);
  }
  #push(bytes: readonly number[]): void {
    pushAll(this.#code, bytes);
  }
}

/** Builds a module that imports `env.memory` and `env.table` and functions, and exports functions. Imports come before the first function. */
export class ModuleBuilder {
  readonly #types: string[] = [];
  readonly #typeBytes: number[][] = [];
  readonly #imports: number[][] = [];
  readonly #functions: { type: number; builder: FunctionBuilder | null }[] = [];
  readonly #exports: number[][] = [];
  readonly #elements: { offset: number; indices: number[] }[] = [];
  #importedFunctions = 0;

  constructor(memoryPages: number, tableSize: number) {
    this.#imports.push([
      ...vec(utf8("env").map(b => [b])),
      ...vec(utf8("memory").map(b => [b])),
      0x02,
      0x00,
      ...leb(memoryPages),
    ]);
    this.#imports.push([
      ...vec(utf8("env").map(b => [b])),
      ...vec(utf8("table").map(b => [b])),
      0x01,
      0x70,
      0x00,
      ...leb(tableSize),
    ]);
  }

  type(signature: Signature): number {
    const key = `${signature.params.join()}:${signature.result}`;
    let index = this.#types.indexOf(key);
    if (index < 0) {
      index = this.#types.length;
      this.#types.push(key);
      const results = signature.result === null ? [] : [[signature.result]];
      this.#typeBytes.push([0x60, ...vec(signature.params.map(p => [p])), ...vec(results)]);
    }
    return index;
  }

  importFunction(name: string, signature: Signature): FunctionRef {
    assert(this.#functions.length === 0, "emit: imports come first");
    this.#imports.push([
      ...vec(utf8("env").map(b => [b])),
      ...vec(utf8(name).map(b => [b])),
      0x00,
      ...leb(this.type(signature)),
    ]);
    return { index: this.#importedFunctions++, signature };
  }

  /** Reserves a function, so that others may call it before its body is there. */
  declare(signature: Signature): FunctionRef {
    this.#functions.push({ type: this.type(signature), builder: null });
    return { index: this.#importedFunctions + this.#functions.length - 1, signature };
  }

  define(ref: FunctionRef, builder: FunctionBuilder): void {
    const entry = this.#functions[ref.index - this.#importedFunctions]!;
    assert(entry.builder === null, "emit: function is defined twice");
    entry.builder = builder;
  }

  add(builder: FunctionBuilder): FunctionRef {
    const ref = this.declare(builder.signature);
    this.define(ref, builder);
    return ref;
  }

  export(name: string, ref: FunctionRef): void {
    this.#exports.push([...vec(utf8(name).map(b => [b])), 0x00, ...leb(ref.index)]);
  }

  /** Places functions in table 0 from `offset` on. */
  elements(offset: number, refs: readonly FunctionRef[]): void {
    this.#elements.push({ offset, indices: refs.map(r => r.index) });
  }

  finish(): Uint8Array<ArrayBuffer> {
    const out: number[] = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
    const section = (id: number, content: readonly number[]): void => {
      out.push(id);
      pushAll(out, leb(content.length));
      pushAll(out, content);
    };
    section(1, vec(this.#typeBytes));
    section(2, vec(this.#imports));
    section(3, vec(this.#functions.map(f => leb(f.type))));
    section(7, vec(this.#exports));
    section(9, vec(this.#elements.map(e => [0x00, 0x41, ...slebNumber(e.offset), 0x0b, ...vec(e.indices.map(leb))])));
    const code: number[] = leb(this.#functions.length);
    for (const f of this.#functions) {
      assert(f.builder !== null, "emit: a declared function has no body");
      pushAll(code, f.builder.finish());
    }
    section(10, code);
    return new Uint8Array(out);
  }
}

function slebNumber(value: number): number[] {
  const out: number[] = [];
  for (;;) {
    const byte = value & 0x7f;
    value >>= 7;
    if ((value === 0 && !(byte & 0x40)) || (value === -1 && byte & 0x40)) return [...out, byte];
    out.push(byte | 0x80);
  }
}
