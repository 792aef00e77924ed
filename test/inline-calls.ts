/** Functions with those they call in place of the calls, as an engine executes them. */
import type { Func, Instr, Loop, WasmModule } from "./wasm-decode.ts";

/** Of a module whose functions call no imports and not themselves. */
export function withCallees(module: WasmModule, f: Func): Func {
  const at = (index: number): Func => {
    const callee = module.functions.find((g) => g.index === index);
    if (callee === undefined) throw new Error(`no function ${index}`);
    return withCallees(module, callee);
  };
  const body: Instr[] = [];
  const loops: { readonly at: number; readonly loop: Loop }[] = [];
  /** Place of each instruction of `f`, and behind the last one. */
  const starts: number[] = [];
  f.body.forEach((instr, i) => {
    starts.push(body.length);
    if (instr.callee === undefined) {
      body.push({ ...instr });
      return;
    }
    const callee = at(instr.callee);
    const around = f.loops.filter((l) => l.body.includes(instr)).length;
    const first = body.length;
    body.push(...callee.body);
    for (const l of callee.loops)
      loops.push({
        at: first + callee.body.indexOf(l.body[0]!),
        loop: { ...l, depth: l.depth + around },
      });
    starts[i] = first;
  });
  starts.push(body.length);
  for (const l of f.loops) {
    const first = f.body.indexOf(l.body[0]!);
    const from = starts[first]!;
    const own = body.slice(from, starts[first + l.body.length]!);
    const inner = loops.some(({ at }) => at > from && at < from + own.length);
    loops.push({ at: from, loop: { ...l, innermost: l.innermost && !inner, body: own } });
  }
  loops.sort((a, b) => a.at - b.at || a.loop.depth - b.loop.depth);
  return { ...f, body, loops: loops.map((l) => l.loop) };
}
