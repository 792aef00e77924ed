/** What `npm run bench` writes to results.json. */

import type { Spread } from "../compiler/cli/bench/sampling.ts";
import type { Macs } from "../runtime/format.ts";
import type { Machine } from "./machine.ts";
import type { RaceResult } from "./race.ts";
import type { QcSizes, Shipped } from "./sizes.ts";

/** Milliseconds from fetch (in Node: from files) to the first result. */
export interface StartResult {
  readonly qc: Spread;
  readonly ort: Spread;
  readonly litert?: Spread;
  /** Bytes of linear memory after it; in pages only. */
  readonly memory?: { readonly qc: number; readonly ort: number; readonly litert?: number };
}

/** A model of the bench that qc does not compile. */
export interface Refused {
  readonly name: string;
  readonly reason: string;
}

export interface ModelResult extends RaceResult {
  readonly name: string;
  readonly macs: Macs;
  /** Bytes. */
  readonly sizes: { readonly qc: QcSizes; readonly ort: Shipped; readonly weights: number };
  readonly arenaPeak: number;
  readonly start?: StartResult;
  /** Of `compileModel`, without start-up. */
  readonly compileMs: number;
}

export interface Results {
  readonly machine: Machine;
  readonly command: string;
  readonly models: readonly ModelResult[];
  readonly refused: readonly Refused[];
}
