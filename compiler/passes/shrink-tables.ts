/** Large tables keep the entries that can be asked for. */
import { makeOp } from "../ir/builder.ts";
import { ok } from "../ir/diagnostics.ts";
import type { Dense, Func } from "../ir/module.ts";
import { attr } from "../ir/op.ts";
import { definePass } from "../ir/pass.ts";
import { analyzeRanges, whole } from "../ir/ranges.ts";
import { mapFuncs, rebuild } from "../ir/rewriter.ts";

/** Tables of so many entries are looked up in registers, whatever their input reaches. */
const SMALL = 256;

/** table(x; t, min) = table(x; t[a … b], a) for x in a … b. */
function shrink(func: Func): Func {
  if (!func.ops.some((op) => op.name === "qc.table" && attr<Dense>(op, "table").data.length > SMALL))
    return func;
  const ranges = analyzeRanges(func);
  return rebuild(func, (op, operands, b) => {
    if (op.name !== "qc.table") return undefined;
    const table = attr<Dense>(op, "table");
    const least = attr<number>(op, "min");
    const { min, max } = whole(ranges.of(op.operands[0]!));
    if (table.data.length <= SMALL || min > max || max - min + 1 >= table.data.length) return undefined;
    const data = table.data.slice(min - least, max - least + 1);
    const made = makeOp(
      op.name,
      operands,
      { table: { ...table, shape: [data.length], data }, min },
      { loc: op.loc, names: op.results.map((r) => r.name), types: op.results.map((r) => r.type) },
    );
    b.append(made);
    return made.results;
  });
}

export const shrinkTables = definePass({
  name: "shrink-tables",
  summary: "Cut tables of more than 256 entries to the range that their input can reach.",
  requires: ["lifted"],
  run: (module) => ok(mapFuncs(module, shrink)),
});
