/** Runs a kernel program in the interpreter and as WASM, on equal bytes. */
import { layout, separatePlan } from "../../compiler/backends/wasm/layout.ts";
import { assembleModule } from "../../compiler/backends/wasm/module.ts";
import { wasmRelaxed, wasmSimd } from "../../compiler/backends/wasm/target.ts";
import { runProgram } from "../../compiler/ir/kernel/interpreter.ts";
import type { Program } from "../../compiler/ir/kernel/ir.ts";
import { legalize } from "../../compiler/ir/kernel/legalize.ts";
import { verifyProgram } from "../../compiler/ir/kernel/verifier.ts";
import { requireOrSkip } from "../require.ts";

export type Engine = "interpreter" | "baseline" | "relaxed";

// (module (memory 1) (func (result v128) … i32x4.relaxed_dot_i8x16_i7x16_add_s of three zero vectors)), by hand.
const zero = [0xfd, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const probeBody = [0, ...zero, ...zero, ...zero, 0xfd, 0x93, 0x02, 0x0b];
const probe = Uint8Array.from([
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...[1, 5, 1, 0x60, 0, 1, 0x7b],
  ...[3, 2, 1, 0],
  ...[10, probeBody.length + 2, 1, probeBody.length, ...probeBody],
]);
/** Whether this engine knows relaxed SIMD. Node 20 does not by default. */
export const hasRelaxed: boolean = requireOrSkip(
  "relaxed SIMD",
  WebAssembly.validate(probe),
  `missing in ${process.version}: relaxed modules are not run`,
);

/** Deterministic bytes; extremes are frequent. */
export function randomBytes(n: number, seed: number): Uint8Array {
  const extremes = [0, 1, 127, 128, 129, 255];
  let state = (seed * 0x9e3779b1 + 0x7f4a7c15) | 0;
  return Uint8Array.from({ length: n }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    const r = state >>> 16;
    return r % 4 === 0 ? extremes[(r >> 2) % extremes.length]! : (r >> 2) & 255;
  });
}

/** Buffers by name: random inputs, everything else full of the interpreter's garbage. */
export function initialMemory(program: Program, seed: number): Map<string, Uint8Array> {
  return new Map(
    program.buffers.flatMap((b, i) =>
      b.data
        ? []
        : [
            [
              b.name,
              b.role === "input" ? randomBytes(b.bytes, seed * 100 + i) : new Uint8Array(b.bytes).fill(0xa5),
            ] as const,
          ],
    ),
  );
}

export function mustVerify(program: Program): void {
  const [first] = verifyProgram(program);
  if (first) throw new Error(`${first.message} ${first.notes.map((n) => `${n.label} ${n.text}`).join()}`);
}

/** Names that share the place of another buffer: in-place kernels. */
export type Aliases = ReadonlyMap<string, string>;

export function compileWasm(
  program: Program,
  kind: "baseline" | "relaxed",
  { profile = false, aliases = new Map() as Aliases, worth = undefined as number | undefined } = {},
) {
  const legal = legalize(program, kind === "relaxed" ? wasmRelaxed : wasmSimd);
  mustVerify(legal);
  const plan = separatePlan(legal);
  for (const [name, place] of aliases) plan.set(name, plan.get(place)!);
  const places = layout(legal, plan);
  const { addresses, memoryPages } = places;
  const bytes = assembleModule({
    program: legal,
    addresses,
    kind,
    memoryPages,
    exportsMemory: true,
    data: true,
    profile,
    ...(worth !== undefined && { worth }),
  });
  return bytes.then((binary) => ({ binary, legal, ...places }));
}

/** `worth`: of parts that become functions. Compiles once; the result runs the program on copies of the given bytes and returns all buffers but constants. */
export async function engine(
  program: Program,
  which: Engine,
  aliases: Aliases = new Map(),
  worth?: number,
): Promise<(memory: ReadonlyMap<string, Uint8Array>) => Map<string, Uint8Array>> {
  mustVerify(program);
  const mutable = program.buffers.filter((b) => !b.data);
  if (which === "interpreter")
    return (memory) => {
      const copy = new Map([...memory].map(([name, bytes]) => [name, bytes.slice()]));
      for (const [name, place] of aliases) copy.set(name, copy.get(place)!);
      const all = runProgram(program, copy);
      return new Map(mutable.map((b) => [b.name, all.get(b.name)!]));
    };
  const { binary, addresses } = await compileWasm(program, which, {
    aliases,
    ...(worth !== undefined && { worth }),
  });
  const { instance } = await WebAssembly.instantiate(binary as Uint8Array<ArrayBuffer>);
  const { memory: linear, run } = instance.exports as { memory: WebAssembly.Memory; run: () => void };
  return (memory) => {
    const bytes = new Uint8Array(linear.buffer);
    for (const b of mutable) if (!aliases.has(b.name)) bytes.set(memory.get(b.name)!, addresses.get(b.name)!);
    run();
    return new Map(
      mutable.map((b) => [b.name, bytes.slice(addresses.get(b.name)!, addresses.get(b.name)! + b.bytes)]),
    );
  };
}

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join(" ");

/** First difference between two sets of buffers, as text. */
export function difference(
  a: ReadonlyMap<string, Uint8Array>,
  b: ReadonlyMap<string, Uint8Array>,
): string | undefined {
  for (const [name, x] of a) {
    const y = b.get(name)!;
    const at = x.findIndex((v, i) => v !== y[i]);
    if (at >= 0 || x.length !== y.length)
      return `@${name}[${at}]: ${hex(x.slice(at & ~15, (at & ~15) + 16))} against ${hex(y.slice(at & ~15, (at & ~15) + 16))}`;
  }
  return undefined;
}
