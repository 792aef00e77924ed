/** Recurrent cells, unrolled step by step: the length of a sequence is known. */
import {
  badAttributeValue,
  badOperands,
  unsupportedAttribute,
  unsupportedForm,
} from "../../../ir/messages.ts";
import { elementwise, move, real, reshape, transpose } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import {
  constantInts,
  flagAttr,
  input,
  intAttr,
  type NodeImport,
  reject,
  stringAttr,
} from "../../node-import.ts";
import type { Operand } from "../../operand.ts";
import { scalar } from "./elementwise.ts";

/** Steps of all directions together: each becomes some ten kernels. */
const MOST_STEPS = 256;

const add = (n: NodeImport, a: Operand, b: Operand): Operand => elementwise(n, "float.add", [a, b]);
const mul = (n: NodeImport, a: Operand, b: Operand): Operand => elementwise(n, "float.mul", [a, b]);
const sigmoid = (n: NodeImport, x: Operand): Operand => elementwise(n, "float.sigmoid", [x]);
const tanh = (n: NodeImport, x: Operand): Operand => elementwise(n, "float.tanh", [x]);
const matmul = (n: NodeImport, a: Operand, b: Operand): Operand => real(n, "float.matmul", [a, b]);
const join = (n: NodeImport, parts: readonly Operand[], axis: number): Operand =>
  parts.length === 1 ? parts[0]! : move(n, "layout.concat", parts, { axis });

/** Indices from … to − 1 of an axis. */
const part = (n: NodeImport, x: Operand, axis: number, from: number, to: number): Operand =>
  from === 0 && to === x.shape[axis]
    ? x
    : move(n, "layout.slice", [x], { starts: [from], ends: [to], steps: [1], axes: [axis] });

/** What a cell gets of its direction: matrices [in, gates·H], biases, and the state so far. */
interface Cell {
  readonly hidden: number;
  /** Σ x·W of all steps, [steps·batch, gates·H], without bias. */
  readonly weights: Operand;
  readonly recurrence: Operand;
  /** Of the inputs and of the recurrence, [1, gates·H]; absent: 0. */
  readonly biases: readonly [Operand, Operand] | undefined;
  /** [1, 3·H], in the order of the gates i, o, f. */
  readonly peephole: Operand | undefined;
}

interface State {
  readonly h: Operand;
  readonly c: Operand | undefined;
}

type Step = (n: NodeImport, cell: Cell, x: Operand, state: State) => State;

const gate = (n: NodeImport, x: Operand, { hidden }: Cell, k: number): Operand =>
  part(n, x, 1, k * hidden, (k + 1) * hidden);
const both = (n: NodeImport, x: Operand, { biases }: Cell): Operand =>
  biases ? add(n, x, add(n, ...biases)) : x;

const lstm: Step = (n, cell, x, { h, c }) => {
  const all = both(n, add(n, x, matmul(n, h, cell.recurrence)), cell);
  const peep = (g: Operand, k: number, state: Operand): Operand =>
    cell.peephole ? add(n, g, mul(n, gate(n, cell.peephole, cell, k), state)) : g;
  const i = sigmoid(n, peep(gate(n, all, cell, 0), 0, c!));
  const f = sigmoid(n, peep(gate(n, all, cell, 2), 2, c!));
  const next = add(n, mul(n, f, c!), mul(n, i, tanh(n, gate(n, all, cell, 3))));
  const o = sigmoid(n, peep(gate(n, all, cell, 1), 1, next));
  return { h: mul(n, o, tanh(n, next)), c: next };
};

const gru: Step = (n, cell, x, { h }) => {
  const { hidden, biases, recurrence } = cell;
  const split = (v: Operand, k: number): Operand => gate(n, v, cell, k);
  const gates = 2 * hidden;
  const first = add(n, part(n, x, 1, 0, gates), matmul(n, h, part(n, recurrence, 1, 0, gates)));
  const open = biases ? add(n, first, part(n, add(n, ...biases), 1, 0, gates)) : first;
  const [z, r] = [sigmoid(n, part(n, open, 1, 0, hidden)), sigmoid(n, part(n, open, 1, hidden, gates))];
  const weights = split(recurrence, 2);
  const [wb, rb] = biases ? biases.map((b) => split(b, 2)) : [];
  const before = flagAttr(n, "linear_before_reset", false);
  const linear = before ? matmul(n, h, weights) : matmul(n, mul(n, r, h), weights);
  const biased = rb ? add(n, linear, rb) : linear;
  const own = wb ? add(n, split(x, 2), wb) : split(x, 2);
  const next = tanh(n, add(n, own, before ? mul(n, r, biased) : biased));
  // (1 − z)·next + z·h
  const rest = elementwise(n, "float.sub", [scalar(z, 1), z]);
  return { h: add(n, mul(n, rest, next), mul(n, z, h)), c: undefined };
};

const rnn: Step = (n, cell, x, { h }) => ({
  h: tanh(n, both(n, add(n, x, matmul(n, h, cell.recurrence)), cell)),
  c: undefined,
});

const DEFAULTS: { readonly [op: string]: readonly string[] } = {
  LSTM: ["sigmoid", "tanh", "tanh"],
  GRU: ["sigmoid", "tanh"],
  RNN: ["tanh"],
};

function checkForm(n: NodeImport, op: string, directions: number): void {
  const names = n.node.attributes.get("activations");
  const wanted = Array.from({ length: directions }, () => DEFAULTS[op]!).flat();
  if (names?.kind === "strings" && names.value.map((s) => s.toLowerCase()).join() !== wanted.join())
    reject(unsupportedAttribute(n.loc, "activations", "is supported with the default functions only"));
  for (const name of ["clip", "activation_alpha", "activation_beta"])
    if (n.node.attributes.has(name)) reject(unsupportedAttribute(n.loc, name, "is not supported here"));
  if (op === "LSTM" && flagAttr(n, "input_forget", false))
    reject(unsupportedAttribute(n.loc, "input_forget", "is not supported here"));
}

function run(n: NodeImport, op: string, gates: number, step: Step): readonly Operand[] {
  const direction = stringAttr(n, "direction", "forward");
  if (!["forward", "reverse", "bidirectional"].includes(direction))
    reject(badAttributeValue(n.loc, "direction", `must be forward, reverse or bidirectional`));
  const directions = direction === "bidirectional" ? 2 : 1;
  checkForm(n, op, directions);
  const batchFirst = flagAttr(n, "layout", false);
  const turn = (v: Operand): Operand => (batchFirst ? transpose(n, v, [1, 0, 2]) : v);
  const x = turn(input(n, 0));
  const [w, r] = [input(n, 1), input(n, 2)];
  if (x.shape.length !== 3 || w.shape.length !== 3 || r.shape.length !== 3)
    reject(badOperands(n.loc, "X, W and R must have rank 3", []));
  const [steps, batch, features] = x.shape as [number, number, number];
  const hidden = intAttr(n, "hidden_size", r.shape[2]);
  const fits = [w, r].every((m) => m.shape[0] === directions && m.shape[1] === gates * hidden);
  if (!fits || w.shape[2] !== features || r.shape[2] !== hidden)
    reject(badOperands(n.loc, "the shapes of X, W and R do not belong together", []));
  if (steps * directions > MOST_STEPS)
    reject(unsupportedForm(n.loc, `${op} of more than ${MOST_STEPS} steps`));
  const lengths = n.inputs[4];
  if (lengths && constantInts(n, lengths, "sequence_lens").some((l) => l !== steps))
    reject(unsupportedForm(n.loc, `${op} of sequences of different lengths`));
  const rows = reshape(n, x, [steps * batch, features]);
  const ends = Array.from({ length: directions }, (_, d) => {
    const own = (v: Operand): Operand => reshape(n, part(n, v, 0, d, d + 1), v.shape.slice(1));
    const bias = n.inputs[3] && part(n, n.inputs[3], 0, d, d + 1);
    const matrix = (v: Operand): Operand => transpose(n, own(v), [1, 0]);
    const cell: Cell = {
      hidden,
      weights: matmul(n, rows, matrix(w)),
      recurrence: matrix(r),
      biases: bias && [
        part(n, bias, 1, 0, gates * hidden),
        part(n, bias, 1, gates * hidden, 2 * gates * hidden),
      ],
      peephole: op === "LSTM" && n.inputs[7] ? part(n, n.inputs[7], 0, d, d + 1) : undefined,
    };
    const initial = (index: number): Operand => {
      const given = n.inputs[index];
      return given ? own(turn(given)) : move(n, "layout.expand", [scalar(x, 0)], { shape: [batch, hidden] });
    };
    let state: State = { h: initial(5), c: op === "LSTM" ? initial(6) : undefined };
    const outputs: Operand[] = [];
    const back = direction === "reverse" || d === 1;
    for (let k = 0; k < steps; k++) {
      const t = back ? steps - 1 - k : k;
      state = step(n, cell, part(n, cell.weights, 0, t * batch, (t + 1) * batch), state);
      outputs[t] = reshape(n, state.h, [1, 1, batch, hidden]);
    }
    return { y: join(n, outputs, 0), ...state };
  });
  const last = (list: readonly Operand[]): Operand =>
    turn(
      join(
        n,
        list.map((v) => reshape(n, v, [1, batch, hidden])),
        0,
      ),
    );
  const y = join(
    n,
    ends.map((e) => e.y),
    1,
  );
  const out = batchFirst ? transpose(n, y, [2, 0, 1, 3]) : y;
  return [out, last(ends.map((e) => e.h)), ...(op === "LSTM" ? [last(ends.map((e) => e.c!))] : [])];
}

const ATTRIBUTES = {
  activation_alpha: "floats",
  activation_beta: "floats",
  activations: "strings",
  clip: "float",
  direction: "string",
  hidden_size: "int",
  layout: "int",
} as const;

export const recurrentImporters: readonly Importer[] = [
  {
    op: "LSTM",
    since: 7,
    inputs: [3, 8],
    attributes: { ...ATTRIBUTES, input_forget: "int" },
    run: (n) => run(n, "LSTM", 4, lstm),
  },
  {
    op: "GRU",
    since: 7,
    inputs: [3, 6],
    attributes: { ...ATTRIBUTES, linear_before_reset: "int" },
    run: (n) => run(n, "GRU", 3, gru),
  },
  { op: "RNN", since: 7, inputs: [3, 6], attributes: ATTRIBUTES, run: (n) => run(n, "RNN", 1, rnn) },
];
