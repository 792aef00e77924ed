/** What `npm run bench` writes to results.json. */

import type { Spread } from "../compiler/cli/bench/sampling.ts";
import type { Macs } from "../runtime/format.ts";
import type { Machine } from "./machine.ts";
import type { RaceResult } from "./race.ts";
import type { QcSizes, Shipped } from "./sizes.ts";

export interface ModelResult extends RaceResult {
  readonly name: string;
  readonly macs: Macs;
  /** Bytes. */
  readonly sizes: { readonly qc: QcSizes; readonly ort: Shipped };
  readonly arenaPeak: number;
  /** Milliseconds from files to the first result, in fresh processes; absent in the browser. */
  readonly start?: { readonly qc: Spread; readonly ort: Spread };
  /** Of `compileModel`, without start-up. */
  readonly compileMs: number;
}

export interface Results {
  readonly machine: Machine;
  readonly command: string;
  readonly models: readonly ModelResult[];
}
