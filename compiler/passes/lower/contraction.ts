/**
 * Convolution and matmul as one outer-product micro-kernel: splat a K-group of activations, multiply-accumulate it against a packed
 * panel of weights, finish in registers. A K×K convolution walks the input rows it overlaps (no im2col): each is a segment of
 * contiguous bytes. Panels: [N / 8][segment][K / group][2][4 columns][group]; a tile reads one or more neighbouring panels.
 * Where the target's dot product takes i16 pairs, bytes are widened once per kernel: the input of an image, then column by column
 * the panels. The packed weights are the same for all targets.
 */
import { add, c32, type Expr, konst, load, op, scale } from "../../ir/kernel/ir.ts";
import { rescaleOf } from "../../ir/ops/integer-rescale.ts";
import { type Block, bytesOf, createKernel, type Mutable } from "./block.ts";
import { convGeometry, type Geometry, matmulGeometry } from "./contraction-geometry.ts";
import { type Plan, planOf } from "./contraction-plan.ts";
import { constantOf, stepsOf } from "./epilogue-stage.ts";
import { storeChannels } from "./epilogue-store.ts";
import { emitGemv } from "./gemv.ts";
import { fillHalo } from "./halo.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";
import { emitPooled, type Pooling, poolingOf, type Split, splitAtPool, windowOf } from "./pooled.ts";
import { type Finisher, finisherOf } from "./residual.ts";
import { PANEL } from "./schedule/contraction.ts";
import { choose } from "./schedule/index.ts";
import type { ContractionSchedule, ContractionWork, Schedule } from "./schedule/schedule.ts";
import type { Lowered, Stage } from "./stage.ts";
import { GROUP_BYTES, packedPanels, splitWeights, type WeightTerm } from "./weights.ts";
import { addOutliers, extentOf, widenedInput, widenPanels } from "./widen.ts";
import { emitWinograd } from "./winograd.ts";

export function lowerContraction(stage: Stage): Lowered | undefined {
  const root = stage.func.ops.find((o) => o.name !== "const");
  if (root === undefined) return undefined;
  const weights = constantOf(stage, root.operands[1]!);
  if (weights === undefined || stage.func.params[0]?.value !== root.operands[0]) return undefined;
  const { container } = stage.inputs[0]!;
  // Signed bytes come with a dot product for them.
  if (container !== "u8" && container !== "i16" && !(container === "i8" && stage.target.dot4))
    return undefined;
  const split = splitAtPool(stage);
  const geometry =
    root.name === "qc.conv"
      ? convGeometry(split?.before ?? stage, root, weights, split === undefined)
      : root.name === "qc.matmul"
        ? matmulGeometry(stage, root, weights)
        : undefined;
  if (geometry === undefined) return undefined;
  const bytes = CONTAINER_BYTES[container] === 1;
  const terms = splitWeights(geometry, bytes ? 4 : 2, !bytes);
  const choice = choose(workOf(stage, geometry, terms, split), stage.target, stage.tuning);
  const { schedule } = choice;
  return { ...emitAs(schedule), choice };
  function emitAs(s: Schedule): Lowered {
    if (s.family === "gemv") return emitGemv(stage, geometry!, terms, s.vectors);
    if (s.family === "winograd") return emitWinograd(stage, geometry!, terms, s);
    if (s.family === "contraction") return emitContraction(stage, geometry!, terms, s, split);
    throw new Error(`${stage.name}: a ${s.family} schedule`);
  }
}

const VECTOR_BYTES = 16;
/** Panels from which on the half of one more is no loss. */
const MANY_PANELS = 16;

/** `count` pieces of the K loop, `step` bytes apart, each of `groups` K-groups from byte `offset`. */
interface Run {
  readonly offset: number;
  readonly step: number;
  readonly count: number;
  readonly groups: number;
  /** K-groups between the weights of consecutive pieces, and elements of a piece that are not padding. */
  readonly pitch: number;
  readonly length: number;
}

/** Where the operands of the products are: the input and the packed weights, or widened copies of them. */
interface Operands extends Pick<Geometry, "inRow" | "inPixel" | "inGroup" | "inOffset"> {
  readonly x: string;
  readonly elementBytes: number;
  readonly weights: string;
  readonly panelBytes: number;
}

/**
 * The dot product of a K-group. `quads`: bytes, four k to a lane. `pairs`: 16-bit activations and weights, two k to a lane.
 * `halves`: 16-bit activations and byte weights of four k, widened as they are loaded; a register has two columns, each as
 * two sums that are joined at the end.
 */
type Form = "quads" | "pairs" | "halves";

/** What the tiles of one contraction share. */
interface Emitter extends Operands {
  readonly y: Layout;
  readonly g: Geometry;
  readonly form: Form;
  /** Of byte quads; `native`: the target has it. */
  readonly dot: "dot4_s8u8.i32x4" | "dot4_s8s8.i32x4";
  readonly native: boolean;
  /** K-groups per turn of the inner loop, which is also the longest stretch written out without one. */
  readonly unroll: number;
  /** The input is a widened copy of one part. */
  readonly widened: boolean;
  /** Packed panels that have to be widened into `weights` before use, and where their outliers belong. */
  readonly narrow: { readonly weights: string; readonly panelBytes: number } | undefined;
  readonly outliers: { readonly targets: string; readonly count: number; readonly own: number } | undefined;
  /** Buffer of initial accumulators; without it they start at zero. */
  readonly init: string | undefined;
  readonly runs: readonly Run[];
  readonly finisher: Finisher;
  readonly plan: Plan;
  /** Combines the tiles of a window before they are stored. */
  readonly pooling: Pooling | undefined;
}

function emitContraction(
  stage: Stage,
  g: Geometry,
  terms: readonly WeightTerm[],
  tile: ContractionSchedule,
  split: Split | undefined,
): Lowered {
  const [x] = stage.inputs as [Layout];
  const [y] = stage.outputs as [Layout];
  const k = createKernel(stage.name);
  const bytes = CONTAINER_BYTES[x.container] === 1;
  const groupSize = bytes ? 4 : 2;
  const blocks = Math.ceil(g.n / PANEL);
  const channels = g.n * (g.groups - 1) + blocks * PANEL;
  const packed = {
    weights: k.block.constant(packedPanels(g, terms, groupSize, !bytes, stage.panels), "w"),
    panelBytes: terms.reduce((sum, t) => sum + t.groups * GROUP_BYTES, 0),
  };
  const size = Math.ceil(channels / 4) * 4;
  const finisher = finisherOf(split?.before ?? stage, k.block, size);
  const pooling = split && poolingOf(split, k.block, size);
  const init = finisher.hasInit ? k.block.constant(bytesOf(finisher.init, "i32"), "init") : undefined;
  const plan = planOf(g, y, finisher.residual, tile.strip);
  const widened = tile.widen === "nothing" ? undefined : widenedInput(k.block, plan.g);
  const both = tile.widen === "both";
  const whole = terms.filter((t) => t.addsTo === undefined);
  const targets = terms.flatMap((t) => (t.addsTo === undefined ? [] : [t.addsTo * 2 * GROUP_BYTES]));
  const em: Emitter = {
    ...plan.g,
    x: x.buffer,
    elementBytes: bytes ? 1 : 2,
    ...packed,
    ...(widened && { ...widened, elementBytes: 2 }),
    ...(both && {
      weights: k.block.scratch(2 * packed.panelBytes * tile.panels, "w"),
      panelBytes: 2 * packed.panelBytes,
    }),
    y,
    g: plan.g,
    form: !bytes || both ? "pairs" : widened ? "halves" : "quads",
    dot: x.container === "i8" ? "dot4_s8s8.i32x4" : "dot4_s8u8.i32x4",
    native: stage.target.dot4,
    unroll: tile.unroll,
    widened: widened !== undefined,
    narrow: both ? packed : undefined,
    outliers:
      both && targets.length > 0
        ? {
            targets: k.block.constant(bytesOf(targets, "i32"), "outliers"),
            count: targets.length,
            own: whole.reduce((sum, t) => sum + 2 * t.groups * GROUP_BYTES, 0),
          }
        : undefined,
    init,
    runs: both ? uniformRuns(whole).map(pairsOf) : uniformRuns(terms).map(widened ? widenRun : (r) => r),
    finisher,
    plan,
    pooling,
  };
  fillHalo(k.block, y);
  const panelsOf = (b: Block, part: Expr, group: Expr): void => {
    const padding = blocks * PANEL - g.n;
    // A last panel with room for its padding is like the others, if that costs no half of it or little.
    const alike =
      !pooling &&
      g.groups === 1 &&
      padding <= (y.spare ?? 0) &&
      (padding < PANEL / 2 || blocks > MANY_PANELS);
    const stored = alike ? blocks * PANEL : g.n;
    const full = Math.floor(stored / PANEL / tile.panels);
    const columns = (to: Block, panels: number, first: Expr, count: number): void =>
      emitColumns(to, em, { rows: tile.rows, panels, part, group, first, count });
    b.loop(0, full, 1, (n, to) => columns(to, tile.panels, scale(n, tile.panels), tile.panels * PANEL), "n");
    const done = full * tile.panels;
    if (done < blocks) columns(b, blocks - done, c32(done), stored - done * PANEL);
  };
  k.block.loop(
    0,
    plan.parts,
    1,
    (part, b) => {
      widened?.fill(b, {
        buffer: x.buffer,
        addr: b.bind(scale(part, plan.inPart), "xi"),
        offset: g.inOffset,
      });
      b.loop(0, g.groups, 1, (group, to) => panelsOf(to, part, group), "g");
    },
    "part",
  );
  const reads = [...new Set(stage.inputs.map((l) => l.buffer))];
  return k.finish(reads, [y.buffer]);
}

function workOf(
  stage: Stage,
  g: Geometry,
  terms: readonly WeightTerm[],
  split: Split | undefined,
): ContractionWork {
  const own = stepsOf(split?.before ?? stage);
  const joins = own.some((o, i) => i > 0 && o.name === "qc.rescale" && o.operands.length === 2);
  return {
    family: "contraction",
    images: g.images,
    rows: g.rows,
    pixels: g.pixels,
    groups: g.groups,
    n: g.n,
    pieces: g.segments.length,
    length: g.segments[0]!.length,
    extra: terms.length - g.segments.length,
    // One key for both signs: their kernels are alike.
    input: stage.inputs[0]!.container === "i8" ? "u8" : stage.inputs[0]!.container,
    output: stage.outputs[0]!.container,
    inRow: g.inRow,
    inPixel: g.inPixel,
    inGroup: g.inGroup,
    extent: extentOf(g),
    epilogue: stepsOf(stage).flatMap((o) => (o.name === "qc.rescale" ? [rescaleOf(o.attrs).class] : [])),
    residual: joins,
    pool: split && windowOf(split),
  };
}

/** All pixels of one part in `panels` neighbouring panels, from panel `first` of a group; `count` of their channels exist. */
interface Columns {
  readonly rows: number;
  readonly panels: number;
  readonly part: Expr;
  readonly group: Expr;
  readonly first: Expr;
  readonly count: number;
}

function emitColumns(b: Block, em: Emitter, { rows, panels, part, group, first, count }: Columns): void {
  const { g, y } = em;
  const blocks = Math.ceil(g.n / PANEL);
  const channel = b.bind(add(scale(group, g.n), scale(first, PANEL)), "ch");
  const { panelBytes } = em.narrow ?? em;
  const packed = b.bind(add(scale(group, blocks * panelBytes), scale(first, panelBytes)), "pw");
  if (em.narrow) {
    const to = { buffer: em.weights, addr: c32(0), offset: 0 };
    widenPanels(b, { buffer: em.narrow.weights, addr: packed, offset: 0 }, to, panels * panelBytes);
    for (let p = 0; em.outliers && p < panels; p++)
      addOutliers(b, em.weights, { ...em.outliers, panel: p * em.panelBytes });
  }
  const pw = em.narrow ? c32(0) : packed;
  const { plan } = em;
  const xg = b.bind(add(scale(group, em.inGroup), scale(part, em.widened ? 0 : plan.inPart)), "xg");
  const yc = b.bind(add(scale(channel, CONTAINER_BYTES[y.container]), scale(part, plan.outPart)), "yc");
  const joined = em.finisher.residual;
  const rc = joined
    ? b.bind(add(scale(channel, CONTAINER_BYTES[joined.container]), scale(part, plan.residualPart)), "rc")
    : c32(0);
  // The last panel may need one of its two vectors only; pools combine whole panels.
  const quads = em.pooling ? 2 * panels : Math.min(2 * panels, Math.ceil(count / 4));
  if (em.pooling) {
    emitPooled(b, em.pooling, rows, yc, channel, count, (to, n, row, p) => {
      const at = (base: Expr, rowStep: number, step: number, hint: string): Expr =>
        to.bind(add(add(base, scale(row, rowStep)), scale(p, step)), hint);
      const xp = at(xg, em.inRow, em.inPixel, "xp");
      const rp = joined ? at(rc, plan.residualRow, plan.residualPixel, "rp") : c32(0);
      return computeTile(to, em, n, quads, xp, rp, pw, channel);
    });
    return;
  }
  b.loop(
    0,
    g.rows,
    1,
    (row, inner) => {
      const xr = inner.bind(add(xg, scale(row, em.inRow)), "xr");
      const yr = inner.bind(add(yc, scale(row, g.outRow)), "yr");
      const main = Math.floor(g.pixels / rows) * rows;
      const rr = joined ? inner.bind(add(rc, scale(row, plan.residualRow)), "rr") : c32(0);
      const at = (to: Block, base: Expr, p: Expr, step: number, hint: string): Expr =>
        to.bind(add(base, scale(p, step)), hint);
      const tile = (to: Block, n: number, p: Expr): void => {
        const xp = at(to, xr, p, em.inPixel, "xp");
        const yp = at(to, yr, p, g.outPixel, "yp");
        const rp = joined ? at(to, rr, p, plan.residualPixel, "rp") : c32(0);
        const packed = computeTile(to, em, n, quads, xp, rp, pw, channel);
        const columns = quads * 4;
        const stored = columns - count <= (y.spare ?? 0) ? columns : count;
        storeChannels(to, y, packed, { rows: n, columns, count: stored, address: yp, rowStep: g.outPixel });
      };
      inner.loop(0, main, rows, (p, to) => tile(to, rows, p), "p");
      if (main < g.pixels) tile(inner, g.pixels - main, c32(main));
    },
    "row",
  );
}

/** `rows` pixels × `quads` times four neighbouring channels: initialise, run over K, finish. Returns the packed results. */
function computeTile(
  b: Block,
  em: Emitter,
  rows: number,
  quads: number,
  xp: Expr,
  rp: Expr,
  pw: Expr,
  channel: Expr,
): readonly Expr[] {
  const { init } = em;
  const halves = em.form === "halves";
  const vectors = quads * (halves ? 2 : 1);
  const initAt = init === undefined ? c32(0) : b.bind(scale(channel, 4), "at");
  const initial = (j: number): Expr | undefined =>
    init === undefined ? undefined : load("i32x4", init, initAt, j * VECTOR_BYTES);
  const start = (j: number): Expr => (halves ? undefined : initial(j)) ?? konst("i32x4", 0);
  const acc: Mutable[][] = [];
  for (let i = 0; i < rows; i++)
    acc.push(
      Array.from({ length: vectors }, (_, j) =>
        b.variable(i === 0 ? start(j) : acc[0]![j]!.ref, `c${i}_${j}_`),
      ),
    );
  let at = 0;
  for (const run of em.runs) {
    emitRun(b, em, run, acc, xp, pw, at);
    at += run.count * run.pitch * GROUP_BYTES;
  }
  const places = acc.map((_, i) => ({ addr: rp, offset: i * em.plan.residualPixel }));
  const joined = (row: readonly Mutable[], j: number): Expr => {
    const sum = joinHalves(row[2 * j]!.ref, row[2 * j + 1]!.ref);
    const from = initial(j);
    return b.bind(from ? op("add.i32x4", [sum, from]) : sum, "c");
  };
  const sums = acc.map((row) =>
    halves ? Array.from({ length: quads }, (_, j) => joined(row, j)) : row.map((v) => v.ref),
  );
  return em.finisher.emit(b, sums, channel, places);
}

/** The K loop of one run; its weights start `at` bytes into each panel. */
function emitRun(
  b: Block,
  em: Emitter,
  run: Run,
  acc: readonly (readonly Mutable[])[],
  xp: Expr,
  pw: Expr,
  at: number,
): void {
  const offset = run.offset + em.inOffset;
  if (run.count === 1) {
    emitPiece(b, em, run.groups, acc, xp, offset, pw, at);
    return;
  }
  b.loop(
    0,
    run.count,
    1,
    (s, inner) => {
      const xs = inner.bind(add(xp, scale(s, run.step)), "xs");
      const ws = inner.bind(add(pw, scale(s, run.pitch * GROUP_BYTES)), "ws");
      emitPiece(inner, em, run.groups, acc, xs, offset, ws, at);
    },
    "s",
  );
}

const EVEN_LANES = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
const ODD_LANES = [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31];

/** [a0 a1 b0 b1], [c0 c1 d0 d1] → [a b c d]. */
const joinHalves = (low: Expr, high: Expr): Expr =>
  op("add.i32x4", [
    op("shuffle.i32x4", [low, high], EVEN_LANES),
    op("shuffle.i32x4", [low, high], ODD_LANES),
  ]);

function emitPiece(
  b: Block,
  em: Emitter,
  groups: number,
  acc: readonly (readonly Mutable[])[],
  x: Expr,
  xOffset: number,
  w: Expr,
  wOffset: number,
): void {
  const { unroll } = em;
  const groupBytes = (em.form === "pairs" ? 2 : 4) * em.elementBytes;
  const straight = groups <= unroll ? groups : groups % unroll;
  const looped = groups - straight;
  if (looped > 0) {
    const xk = b.variable(x, "xk");
    const wk = b.bind(add(w, wOffset), "wk");
    b.loopBetween(
      wk,
      b.bind(add(wk, looped * GROUP_BYTES), "we"),
      unroll * GROUP_BYTES,
      (q, inner) => {
        for (let u = 0; u < unroll; u++)
          emitGroup(inner, em, acc, xk.ref, xOffset + u * groupBytes, q, u * GROUP_BYTES);
        inner.set(xk, add(xk.ref, unroll * groupBytes));
      },
      "q",
    );
  }
  for (let u = looped; u < groups; u++)
    emitGroup(b, em, acc, x, xOffset + u * groupBytes, w, wOffset + u * GROUP_BYTES);
}

/** One K-group: load the panels' vectors, splat each row's activations, multiply-accumulate. */
function emitGroup(
  b: Block,
  em: Emitter,
  acc: readonly (readonly Mutable[])[],
  x: Expr,
  xOffset: number,
  w: Expr,
  wOffset: number,
): void {
  const { form } = em;
  const type = form === "quads" ? "i8x16" : "i16x8";
  // Operands of a panel, and how they lie in it.
  const each = form === "halves" ? 4 : 2;
  const ws = acc[0]!.map((_, j) => {
    const offset = wOffset + Math.floor(j / each) * em.panelBytes + ((j % each) * GROUP_BYTES) / each;
    const vector = load(type, em.weights, w, offset, form === "halves" ? "load8x8_s" : "load");
    // What a single row uses is loaded where it is used: fewer registers are alive at a time.
    return acc.length === 1 && (form !== "quads" || em.native) ? vector : b.bind(vector, "w");
  });
  acc.forEach((row, i) => {
    const splat = form === "halves" ? "load64_splat" : "load32_splat";
    const a = b.bind(load(type, em.x, x, xOffset + i * em.inPixel, splat), "a");
    row.forEach((c, j) => {
      const product =
        form === "quads"
          ? op(em.dot, [c.ref, ws[j]!, a])
          : op("add.i32x4", [c.ref, op("dot2.i32x4", [a, ws[j]!])]);
      b.set(c, product);
    });
  });
}

/** Terms of equal length at equal distances run as one loop. */
function uniformRuns(terms: readonly WeightTerm[]): Run[] {
  const runs: Run[] = [];
  for (let i = 0; i < terms.length; ) {
    const first = terms[i]!;
    const step = i + 1 < terms.length ? terms[i + 1]!.offset - first.offset : 0;
    let count = 1;
    while (
      step > 0 &&
      terms[i + count]?.length === first.length &&
      terms[i + count]!.offset === first.offset + count * step
    )
      count++;
    runs.push({
      offset: first.offset,
      step,
      count,
      groups: first.groups,
      pitch: first.groups,
      length: first.length,
    });
    i += count;
  }
  return runs;
}

/** The same run over a widened input. */
const widenRun = (r: Run): Run => ({ ...r, offset: 2 * r.offset, step: 2 * r.step });

/** The same run over two widened operands: K-groups of two. */
const pairsOf = (r: Run): Run => ({ ...widenRun(r), groups: Math.ceil(r.length / 2), pitch: 2 * r.pitch });
