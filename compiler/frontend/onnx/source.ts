/** Where in the user's own code a node comes from. */
import { quote } from "../../ir/diagnostics.ts";

const STACK_TRACE = "pkg.torch.onnx.stack_trace";
const FRAME = 'File "';

/**
 * The innermost frame of the Python stack trace that PyTorch's exporter attaches, as `file:line  source text`, escaped
 * for display; undefined when there is none.
 */
export function sourcePosition(metadata: ReadonlyMap<string, string>): string | undefined {
  const trace = metadata.get(STACK_TRACE);
  if (trace === undefined) return undefined;
  const start = trace.lastIndexOf(FRAME);
  if (start < 0) return undefined;
  const [head = "", text = ""] = trace.slice(start + FRAME.length, start + 4096).split("\n", 2);
  const match = /^([^"]*)", line ([0-9]+)/.exec(head);
  if (match === null) return undefined;
  const position = `${match[1]}:${match[2]}`;
  const code = text.trim();
  return quote(code === "" ? position : `${position}  ${code}`, 240).slice(1, -1);
}
