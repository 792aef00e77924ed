/** A program → one WASM module. */
import type { Program } from "../../ir/kernel/ir.ts";
import { assemble } from "./assemble.ts";
import { emitProcedure } from "./emit.ts";
import { emitUnpack, packedConstants, type Staging } from "./pack.ts";
import { shareParts } from "./share.ts";

export interface ModuleOptions {
  /** Verified; legalized for the target unless `kind` is `relaxed`. */
  readonly program: Program;
  readonly addresses: ReadonlyMap<string, number>;
  readonly kind: "baseline" | "relaxed";
  readonly memoryPages: number;
  /** Define the memory and export it as `memory`; otherwise import it as `env.memory`. */
  readonly exportsMemory: boolean;
  /** Include the constants as active data, at their real bit widths; a start function spreads them out. */
  readonly data: boolean;
  /** Tables among the constants, and where the module may bring their bytes: the arena. */
  readonly staging?: Staging;
  /** Also export every kernel under its name. */
  readonly profile?: boolean;
  /** Work from which parts of kernels become functions (`share.ts`), if not the default. */
  readonly worth?: number;
}

/**
 * The module exports `run`, which runs all kernels in order; the memory does not grow. No name section; equal input
 * gives equal bytes. Throws on a program that is not legal for `kind`.
 */
export function assembleModule(options: ModuleOptions): Promise<Uint8Array> {
  const {
    program,
    addresses,
    kind,
    memoryPages,
    exportsMemory,
    data,
    staging,
    profile = false,
    worth,
  } = options;
  return assemble((b, m) => {
    const constants = packedConstants(data ? program : { ...program, buffers: [] }, addresses, staging);
    m.setMemory(
      memoryPages,
      memoryPages,
      exportsMemory ? "memory" : null,
      constants.segments.map((s) => ({ offset: m.i32.const(s.address), data: s.bytes, passive: false })),
      false,
      false,
      "memory",
    );
    if (!exportsMemory) m.addMemoryImport("memory", "env", "memory", false);
    const cx = { b, m, relaxed: kind === "relaxed" };
    const { kernels, procedures } = shareParts(program.kernels, addresses, worth);
    for (const p of procedures) emitProcedure(cx, p, addresses);
    kernels.forEach((kernel, i) => {
      emitProcedure(cx, { ...kernel, name: `k${i}` }, addresses);
      if (profile) m.addFunctionExport(`k${i}`, kernel.name);
    });
    const calls = program.kernels.map((_, i) => m.call(`k${i}`, [], b.none));
    m.addFunction("run", b.none, b.none, [], m.block(null, calls));
    m.addFunctionExport("run", "run");
    emitUnpack(b, m, constants);
  }, kind === "relaxed");
}

/** All constants as one run of bytes. */
export function constantData(
  program: Program,
  addresses: ReadonlyMap<string, number>,
): { readonly address: number; readonly bytes: Uint8Array } | undefined {
  const placed = program.buffers.flatMap((b) =>
    b.data ? [{ address: addresses.get(b.name)!, data: b.data }] : [],
  );
  if (placed.length === 0) return undefined;
  const address = Math.min(...placed.map((p) => p.address));
  const bytes = new Uint8Array(Math.max(...placed.map((p) => p.address + p.data.length)) - address);
  for (const p of placed) bytes.set(p.data, p.address - address);
  return { address, bytes };
}
