/** What compiling takes and gives: plain data, shared by the driver, the command line and the plugins. */
import type { Macs, Manifest, ThreadsModule, WasmTarget } from "../runtime/format.ts";
import type { ExternalData } from "./frontend/onnx/convert-tensor.ts";
import type { Module } from "./ir/module.ts";
import type { TuningFile } from "./tuning.ts";

export interface CompileOptions {
  readonly target: WasmTarget;
  /** Shown in diagnostics that concern the file as a whole. */
  readonly path?: string;
  /** Finds external data; without it, tensors stored outside the file are errors. */
  readonly external?: ExternalData;
  /** Value of symbolic batch dimensions. Default 1. */
  readonly batch?: number;
  /** Grids for tensors that the file leaves without, as `tensor=u8@scale` or `tensor=i4@scale,zero`. */
  readonly grids?: readonly string[];
  /** Text of an `.encodings` file of AIMET (version 0.x or 1.0): quantizers by tensor name. */
  readonly encodings?: string;
  /** Where `encodings` comes from, for diagnostics. */
  readonly encodingsPath?: string;
  /**
   * Let ops without an integer form run in float32: all of them, or those of nodes and tensors of these names. Default false: they
   * are errors.
   */
  readonly allowFloat?: boolean | readonly string[];
  /** Name in the manifest. Default: the ONNX graph's name. */
  readonly name?: string;
  /** Keeps the integer tensor of every quantizer to the end of `run()`, as `manifest.taps`. */
  readonly debug?: boolean;
  /** Fold channels that can reach one value only. Default true; results are the same without. */
  readonly foldConstants?: boolean;
  /** Measured schedules, as `parseTuning` reads them, to use instead of the cost model's; results are the same without. */
  readonly tuning?: TuningFile;
  /** Where `tuning` comes from, for diagnostics. */
  readonly tuningPath?: string;
  /** Also make modules for several threads, on a shared memory. */
  readonly threads?: boolean;
  /** Also export every kernel by its name. */
  readonly profile?: boolean;
  /** Called when a phase of the compilation begins; during long ones also with the share that is done, from 0 to 1. */
  readonly onPhase?: (phase: string, share?: number) => void;
}

/** One step of the integer graph, for `qc inspect`. */
export interface LayerReport {
  /** Name of the tensor it produces. Untrusted. */
  readonly tensor: string;
  /** Op table name: `qc.conv`, `qc.matmul` … */
  readonly op: string;
  /** Of its result, NHWC. */
  readonly shape: readonly number[];
  readonly macs: Macs;
  /** Absent for layers without weights. `bits`: the least width that holds every value. */
  readonly weights?: { readonly shape: readonly number[]; readonly bits: number; readonly bytes: number };
  /** Proved width of the accumulator. */
  readonly accBits?: number;
  /** Softmax and normalizations: bound on the distance from the real function before rounding, in output steps. */
  readonly bound?: number;
  /** Bytes of a table of more than 256 entries. */
  readonly table?: number;
}

/** How many operators of each kind. */
export type OpCounts = { readonly [op: string]: number };

export interface Report {
  /** ONNX operators of the file, and ops of the integer graph. */
  readonly ops: { readonly before: OpCounts; readonly after: OpCounts };
  readonly layers: readonly LayerReport[];
}

export interface Compiled {
  readonly manifest: Manifest;
  /** Owns memory and weights. */
  readonly baseline: Uint8Array;
  /** Kernels that import `env.memory`; absent for target `wasm-simd`. */
  readonly relaxed?: Uint8Array;
  /** The same for engines whose relaxed dot product takes signed bytes; absent where `relaxed` needs no such twin. */
  readonly relaxedS8?: Uint8Array;
  /** The same for several threads, in builds with `threads`. */
  readonly threads?: { readonly [m in ThreadsModule]?: Uint8Array };
  readonly report: Report;
  /**
   * The integer graph the kernels were made from, for the reference interpreter. The entry's results are the graph's
   * outputs, in `debug` builds followed by the tensors of `manifest.taps`, in that order.
   */
  readonly module: Module;
  /**
   * The same results before reduction and certification: every requantization is evaluated in exact rational arithmetic. What
   * `module` and the kernels are proved to equal.
   */
  readonly exact: Module;
}
