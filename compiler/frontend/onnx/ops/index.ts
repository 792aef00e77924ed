/** The import table. */
import type { Importer } from "../../importer.ts";
import { activationImporters } from "./activation.ts";
import { attentionImporters } from "./attention.ts";
import { compositionImporters } from "./composition.ts";
import { constantImporters } from "./constant.ts";
import { convImporters } from "./conv.ts";
import { cumulateImporters } from "./cumulate.ts";
import { dynamicImporters } from "./dynamic.ts";
import { einsumImporters } from "./einsum.ts";
import { elementwiseImporters } from "./elementwise.ts";
import { fakeQuantizeImporters } from "./fake-quantize.ts";
import { floatQuantImporters } from "./float-quant.ts";
import { gridSampleImporters } from "./grid-sample.ts";
import { indexingImporters } from "./indexing.ts";
import { intArithmeticImporters } from "./int-arithmetic.ts";
import { integerImporters } from "./integer.ts";
import { logicImporters } from "./logic.ts";
import { lossImporters } from "./loss.ts";
import { matmulImporters } from "./matmul.ts";
import { multiThresholdImporters } from "./multi-threshold.ts";
import { nbitsImporters } from "./nbits.ts";
import { normalizationImporters } from "./normalization.ts";
import { poolingImporters } from "./pooling.ts";
import { qlinearImporters } from "./qlinear.ts";
import { qonnxImporters } from "./qonnx.ts";
import { qonnxPoolImporters } from "./qonnx-pool.ts";
import { quantizeImporters } from "./quantize.ts";
import { recurrentImporters } from "./recurrent.ts";
import { reduceImporters } from "./reduce.ts";
import { resizeImporters } from "./resize.ts";
import { rotaryImporters } from "./rotary.ts";
import { shapeImporters } from "./shape.ts";
import { sliceImporters } from "./slice.ts";

/** All operators that can be imported, by family. */
export const IMPORTERS: readonly Importer[] = [
  ...quantizeImporters,
  ...qonnxImporters,
  ...qonnxPoolImporters,
  ...multiThresholdImporters,
  ...floatQuantImporters,
  ...fakeQuantizeImporters,
  ...qlinearImporters,
  ...integerImporters,
  ...dynamicImporters,
  ...convImporters,
  ...matmulImporters,
  ...nbitsImporters,
  ...einsumImporters,
  ...elementwiseImporters,
  ...activationImporters,
  ...normalizationImporters,
  ...attentionImporters,
  ...rotaryImporters,
  ...reduceImporters,
  ...compositionImporters,
  ...recurrentImporters,
  ...shapeImporters,
  ...sliceImporters,
  ...resizeImporters,
  ...constantImporters,
  ...logicImporters,
  ...intArithmeticImporters,
  ...indexingImporters,
  ...cumulateImporters,
  ...lossImporters,
  ...gridSampleImporters,
  ...poolingImporters,
];

const key = (domain: string, op: string): string => `${domain}\n${op}`;

const table = new Map<string, Importer[]>();
for (const row of IMPORTERS)
  for (const domain of row.domains ?? [""]) {
    const rows = table.get(key(domain, row.op));
    if (rows) rows.push(row);
    else table.set(key(domain, row.op), [row]);
  }

/** The rows of an operator, one per range of versions; undefined if it is unknown. */
export const importersOf = (domain: string, op: string): readonly Importer[] | undefined =>
  table.get(key(domain, op));
