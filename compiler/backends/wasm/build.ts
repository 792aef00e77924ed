/** A lowered program → the modules of a WASM artifact and where its ports lie. */
import type { PortLayout, ThreadsModule, WasmTarget } from "../../../runtime/format.ts";
import type { Buffer, Program } from "../../ir/kernel/ir.ts";
import { legalize } from "../../ir/kernel/legalize.ts";
import { layout } from "./layout.ts";
import { assembleModule } from "./module.ts";
import type { Staging } from "./pack.ts";
import { type PlacedPort, portLayouts } from "./ports.ts";
import { placeBeside, type SignedInput, withSigned } from "./signed.ts";
import { elementBytes, tableRuns, tablesLast } from "./tables.ts";
import { wasmRelaxed, wasmSimd } from "./target.ts";
import { buildThreads, type ThreadsModules } from "./threads.ts";

/**
 * One program per target; the first two use the same buffers at the same places, and constants of one name are the same.
 * `signed` has a memory plan of its own, and ports in the order of the others.
 */
export interface WasmInput {
  readonly baseline: Program;
  readonly relaxed: Program | undefined;
  readonly signed?: SignedInput | undefined;
  readonly offsets: ReadonlyMap<string, number>;
  readonly inputs: readonly PlacedPort[];
  readonly outputs: readonly PlacedPort[];
}

export interface WasmModules {
  readonly baseline: Uint8Array;
  readonly relaxed?: Uint8Array;
  /** Shares memory and weights, brings the constants that differ. */
  readonly relaxedS8?: Uint8Array;
  readonly inputs: readonly PortLayout[];
  readonly outputs: readonly PortLayout[];
  /** Bytes of constants, arena and linear memory. */
  readonly constBytes: number;
  readonly arenaBytes: number;
  readonly memoryBytes: number;
  /** Bytes of constants in the module `relaxedS8`. */
  readonly signedConstBytes: number;
  /** The same kernels for several threads, where asked for. */
  readonly threads?: ThreadsModules<ThreadsModule>;
}

export const targetsOf = (target: WasmTarget) => ({
  baseline: wasmSimd,
  relaxed: target === "wasm-simd" ? undefined : wasmRelaxed,
});

/** Assembles the modules. `threads`: also those for several threads. `profile` also exports every kernel by name. Throws on programs that disagree: a bug in the lowering. */
export async function buildWasm(
  input: WasmInput,
  target: WasmTarget,
  { profile = false, threads = false } = {},
): Promise<WasmModules> {
  const extra = input.relaxed ? constantsBeside(input.baseline, input.relaxed) : [];
  const legal = legalize(input.baseline, wasmSimd);
  const sizes = elementBytes([legal, ...(input.relaxed ? [input.relaxed] : [])]);
  const baselineProgram = { ...legal, buffers: tablesLast([...legal.buffers, ...extra], sizes) };
  const place = layout(baselineProgram, input.offsets);
  const { addresses } = place;
  const signedSizes = elementBytes(input.signed ? [input.signed.program] : []);
  const signed =
    input.signed &&
    placeBeside(place, baselineProgram, {
      ...input.signed,
      program: {
        ...input.signed.program,
        buffers: tablesLast(input.signed.program.buffers, signedSizes),
      },
    });
  const staging = (program: Program, at: ReadonlyMap<string, number>, bytes: typeof sizes): Staging => ({
    address: place.arena,
    runs: tableRuns(program, at, bytes, place.arenaBytes),
  });
  const memoryPages = Math.max(place.memoryPages, signed?.memoryPages ?? 0);
  const baseline = await assembleModule({
    program: target === "wasm-relaxed" ? { ...baselineProgram, kernels: [] } : baselineProgram,
    addresses,
    kind: "baseline",
    memoryPages,
    exportsMemory: true,
    data: true,
    staging: staging(baselineProgram, addresses, sizes),
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
  const relaxedS8 =
    signed &&
    (await assembleModule({
      program: signed.program,
      addresses: signed.addresses,
      kind: "relaxed",
      memoryPages,
      exportsMemory: false,
      data: true,
      staging: staging(signed.program, signed.addresses, signedSizes),
      profile,
    }));
  const sources = {
    baselineThreads:
      target === "wasm-relaxed"
        ? undefined
        : { program: legal, addresses, kind: "baseline" as const, data: false },
    relaxedThreads: input.relaxed && {
      program: input.relaxed,
      addresses,
      kind: "relaxed" as const,
      data: false,
    },
    relaxedS8Threads: signed && { ...signed, kind: "relaxed" as const, data: true },
  };
  const address = (p: PlacedPort): number => addresses.get(p.layout.buffer)! + p.layout.offset;
  const ports = (list: "inputs" | "outputs"): PortLayout[] => {
    const layouts = portLayouts(input[list], address);
    return signed && input.signed
      ? withSigned(layouts, input[list], input.signed[list], signed.addresses)
      : layouts;
  };
  return {
    baseline,
    ...(relaxed ? { relaxed } : {}),
    ...(relaxedS8 ? { relaxedS8 } : {}),
    inputs: ports("inputs"),
    outputs: ports("outputs"),
    constBytes: place.constBytes,
    arenaBytes: place.arenaBytes,
    memoryBytes: memoryPages * 65536,
    signedConstBytes: signed?.constBytes ?? 0,
    ...(threads && { threads: await buildThreads(sources, memoryPages) }),
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
