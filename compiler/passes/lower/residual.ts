/**
 * What finishes the accumulators of a contraction: its epilogue, or two of them with a residual in between. The first result
 * stays in i32 lanes, clamped as the graph says, and meets the other tensor in the second rescale without touching memory.
 */
import type { Expr } from "../../ir/kernel/ir.ts";
import type { Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import type { Block } from "./block.ts";
import { operandLayout } from "./elementwise.ts";
import { loadGroups } from "./elementwise-load.ts";
import { createEpilogue, type Epilogue, type Post } from "./epilogue.ts";
import { epilogueOf, lastAxisRescale, stepsOf } from "./epilogue-stage.ts";
import type { Layout } from "./layout.ts";
import type { Stage } from "./stage.ts";

export interface Finisher {
  readonly hasInit: boolean;
  readonly init: Int32Array;
  /** The tensor joined to the result; pixels at the same places as the output's. */
  readonly residual: Layout | undefined;
  /** As `Epilogue.emit`; `at`: byte address of each row's first residual element, relative to the residual's buffer. */
  readonly emit: (
    b: Block,
    rows: readonly (readonly Expr[])[],
    channel: Expr,
    at: readonly Place[],
  ) => readonly Expr[];
}

export interface Place {
  readonly addr: Expr;
  readonly offset: number;
}

/** The join: the second rescale, which operand of it is the contraction's result, and the clamp before it. */
function joinOf(
  stage: Stage,
): { first: readonly Op[]; join: Op; own: number; after: readonly Op[] } | undefined {
  const steps = stepsOf(stage);
  const at = steps.findIndex((o, i) => i > 0 && o.name === "qc.rescale" && o.operands.length === 2);
  if (at < 0) return undefined;
  const join = steps[at]!;
  return {
    first: steps.slice(1, at),
    join,
    own: join.operands.indexOf(steps[at - 1]!.results[0]!),
    after: steps.slice(at + 1),
  };
}

const clampOf = (steps: readonly Op[]): Post => {
  const clamp = steps.find((o) => o.name === "qc.clamp");
  return clamp ? { clamp: { lo: attr<number>(clamp, "lo"), hi: attr<number>(clamp, "hi") } } : {};
};

/** `size`: entries of constant tables, a multiple of 4 that covers every channel a tile touches. */
export function finisherOf(stage: Stage, block: Block, size: number): Finisher {
  const join = joinOf(stage);
  if (join === undefined) {
    const epilogue = epilogueOf(stage, block, size);
    return {
      ...epilogue,
      residual: undefined,
      emit: (b, rows, channel) =>
        epilogue.emit(
          b,
          rows.map((r) => [r]),
          channel,
        ),
    };
  }
  const y = stage.outputs[0]!;
  const channels = y.shape.at(-1) ?? 1;
  const rescale = join.first.find((o) => o.name === "qc.rescale");
  const table = join.after.find((o) => o.name === "qc.table");
  if (join.first.some((o) => o.name === "qc.table") || table)
    throw new Error(`${stage.name}: a table beside a residual`);
  const common = { block, channels, pad: size };
  const first = createEpilogue({
    ...common,
    rescale: lastAxisRescale(rescale),
    container: "i32",
    post: clampOf(join.first),
  });
  const second = createEpilogue({
    ...common,
    rescale: lastAxisRescale(join.join),
    container: y.container,
    post: clampOf(join.after),
  });
  const other: Value = join.join.operands[1 - join.own]!;
  const residual = operandLayout(stage, block, other);
  return {
    hasInit: first.hasInit,
    init: first.init,
    residual,
    emit: (b, rows, channel, at) => joinRows(b, first, second, rows, channel, residual, join.own, at),
  };
}

/** As many rows at a time as fill whole packed vectors. */
function joinRows(
  b: Block,
  first: Epilogue,
  second: Epilogue,
  rows: readonly (readonly Expr[])[],
  channel: Expr,
  residual: Layout,
  own: number,
  at: readonly Place[],
): Expr[] {
  const out: Expr[] = [];
  const together = rows[0]!.length % 2 === 0 ? 2 : 4;
  for (let r = 0; r < rows.length; r += together) {
    const pair = rows.slice(r, r + together);
    const vectors = pair[0]!.length;
    const mine = first
      .emit(
        b,
        pair.map((row) => [row]),
        channel,
      )
      .map((v) => b.bind(v, "own"));
    const operands = pair.map((_, i) => {
      const theirs = loadLanes(b, residual, at[r + i]!, vectors);
      const ours = mine.slice(i * vectors, (i + 1) * vectors);
      return own === 0 ? [ours, theirs] : [theirs, ours];
    });
    out.push(...second.emit(b, operands, channel));
  }
  return out;
}

/** `vectors` × 4 consecutive elements widened to i32 lanes. */
const loadLanes = (b: Block, l: Layout, { addr, offset }: Place, vectors: number): Expr[] =>
  loadGroups(b, l, addr, l.offset + offset, vectors);
