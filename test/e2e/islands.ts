/** Zoo models with quantizers taken out, so that parts of them have to run in float. */
import onnx from "onnx-proto";

/**
 * The model without some pairs of activation quantizers, all of them by default: what reads the pair's result reads its real
 * numbers instead. `goes`: whether pair i of n goes, in the file's order.
 */
export function withoutQuantizers(
  bytes: Uint8Array,
  goes: (i: number, n: number) => boolean = () => true,
): Uint8Array {
  const model = onnx.onnx.ModelProto.decode(bytes);
  const graph = model.graph!;
  const nodes = graph.node!;
  const constants = new Set([
    ...graph.initializer!.map((t) => t.name!),
    ...nodes.flatMap((n) => (n.opType === "Constant" ? n.output! : [])),
  ]);
  const outputs = new Set(graph.output!.map((o) => o.name!));
  const dequantized = (name: string): boolean =>
    !outputs.has(name) && nodes.every((n) => !n.input!.includes(name) || n.opType === "DequantizeLinear");
  const quantizers = nodes.filter(
    (n) => n.opType === "QuantizeLinear" && !constants.has(n.input![0]!) && dequantized(n.output![0]!),
  );
  const removed = new Set(quantizers.filter((_, i) => goes(i, quantizers.length)));
  const source = new Map<string, string>();
  for (const n of nodes) {
    const q = quantizers.find((p) => removed.has(p) && p.output![0] === n.input![0]);
    if (n.opType === "DequantizeLinear" && q) {
      removed.add(n);
      source.set(n.output![0]!, q.input![0]!);
    }
  }
  const origin = (name: string): string => {
    let at = name;
    while (source.has(at)) at = source.get(at)!;
    return at;
  };
  graph.node = nodes.flatMap((n) => {
    n.input = n.input!.map(origin);
    if (!removed.has(n)) return [n];
    const [y] = n.output!;
    // A graph output keeps its name.
    return n.opType === "DequantizeLinear" && outputs.has(y!)
      ? [onnx.onnx.NodeProto.create({ opType: "Identity", input: [origin(y!)], output: [y!] })]
      : [];
  });
  return onnx.onnx.ModelProto.encode(model).finish();
}
