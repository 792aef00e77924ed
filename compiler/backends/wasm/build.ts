/** A lowered program → the modules of a WASM artifact and where its ports lie. */
import type { Dtype, PortLayout, SlotBoundary, Storage, WasmTarget } from "../../../runtime/format.ts";
import type { Buffer, Program } from "../../ir/kernel/ir.ts";
import { legalize } from "../../ir/kernel/legalize.ts";
import type { Port } from "../../ir/module.ts";
import { sizeOf } from "../../ir/types.ts";
import { layout } from "./layout.ts";
import { assembleModule } from "./module.ts";
import { wasmRelaxed, wasmSimd } from "./target.ts";

/** A graph input or output and where its integers lie, row-major from `offset` of `buffer`. */
export interface PlacedPort {
  readonly port: Port;
  readonly layout: { readonly buffer: string; readonly container: Storage; readonly offset: number };
}

/** One program per target; both use the same buffers at the same places. Constants of one name are the same. */
export interface WasmInput {
  readonly baseline: Program;
  readonly relaxed: Program | undefined;
  readonly offsets: ReadonlyMap<string, number>;
  readonly inputs: readonly PlacedPort[];
  readonly outputs: readonly PlacedPort[];
}

export interface WasmModules {
  readonly baseline: Uint8Array;
  readonly relaxed?: Uint8Array;
  readonly inputs: readonly PortLayout[];
  readonly outputs: readonly PortLayout[];
  /** Bytes of constants, arena and linear memory. */
  readonly constBytes: number;
  readonly arenaBytes: number;
  readonly memoryBytes: number;
}

export const targetsOf = (target: WasmTarget) => ({
  baseline: wasmSimd,
  relaxed: target === "wasm-simd" ? undefined : wasmRelaxed,
});

/** Assembles the modules. `profile` also exports every kernel by name. Throws on programs that disagree: a bug in the lowering. */
export async function buildWasm(
  input: WasmInput,
  target: WasmTarget,
  { profile = false } = {},
): Promise<WasmModules> {
  const extra = input.relaxed ? constantsBeside(input.baseline, input.relaxed) : [];
  const legal = legalize(input.baseline, wasmSimd);
  const baselineProgram = { ...legal, buffers: [...legal.buffers, ...extra] };
  const place = layout(baselineProgram, input.offsets);
  const { addresses, memoryPages } = place;
  const baseline = await assembleModule({
    program: target === "wasm-relaxed" ? { ...baselineProgram, kernels: [] } : baselineProgram,
    addresses,
    kind: "baseline",
    memoryPages,
    exportsMemory: true,
    data: true,
    profile,
  });
  const relaxed =
    input.relaxed &&
    (await assembleModule({
      program: input.relaxed,
      addresses,
      kind: "relaxed",
      memoryPages,
      exportsMemory: false,
      data: false,
      profile,
    }));
  const address = (p: PlacedPort): number => addresses.get(p.layout.buffer)! + p.layout.offset;
  return {
    baseline,
    ...(relaxed ? { relaxed } : {}),
    inputs: portLayouts(input.inputs, address),
    outputs: portLayouts(input.outputs, address),
    constBytes: place.constBytes,
    arenaBytes: place.arenaBytes,
    memoryBytes: memoryPages * 65536,
  };
}

/** Constants only the second program has; what both have must be the same. */
function constantsBeside(a: Program, b: Program): Buffer[] {
  const known = new Map(a.buffers.map((x) => [x.name, x]));
  return b.buffers.filter((x) => {
    const twin = known.get(x.name);
    if (twin === undefined && x.data !== undefined) return true;
    const same =
      twin !== undefined &&
      (x.data === undefined
        ? twin.bytes >= x.bytes
        : twin.bytes === x.bytes && twin.data !== undefined && sameBytes(x.data, twin.data));
    if (!same) throw new Error(`the programs of the two modules disagree on buffer ${x.name}`);
    return false;
  });
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a === b) return true;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

const BYTES: { readonly [s in Storage]: number } = { i8: 1, u8: 1, i16: 2, u16: 2, i32: 4 };

/** Ports of one name become the slots of one port, in graph order. */
function portLayouts(ports: readonly PlacedPort[], address: (p: PlacedPort) => number): PortLayout[] {
  const byName = new Map<string, PlacedPort[]>();
  for (const p of ports) byName.set(p.port.name, [...(byName.get(p.port.name) ?? []), p]);
  return [...byName.values()].map((group): PortLayout => {
    const first = group[0]!.port;
    return {
      name: first.name,
      dtype: first.dtype as Dtype,
      shape: first.value.type.shape,
      slots: group.map((p) => {
        const count = sizeOf(p.port.value.type.shape);
        return {
          offset: address(p),
          bytes: count * BYTES[p.layout.container],
          elem: p.layout.container,
          count,
          boundary: p.port.boundary as SlotBoundary,
        };
      }),
    };
  });
}
