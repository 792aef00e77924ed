/** Every `files/*.qk`: the same text in the interpreter and as WASM, byte by byte. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Program } from "../../compiler/ir/kernel/ir.ts";
import { parseProgram } from "../../compiler/ir/kernel/parser.ts";
import { printProgram } from "../../compiler/ir/kernel/printer.ts";
import { countOf, decodeWasm, floatUses } from "../wasm-decode.ts";
import { compileWasm, difference, type Engine, engine, hasRelaxed, initialMemory } from "./harness.ts";

const folder = new URL("files/", import.meta.url);

/**
 *   // run: interpreter baseline relaxed    engines to compare; the first is the oracle
 *   // alias @y @x                          y lives where x does
 *   // max @x 127                           clears the top bits of random bytes
 *   // fixed                                only the fixed case, no random ones
 *   // in @x = 01 02 …, out @y = …          one fixed case
 *   // innermost relaxed NAME 4             instructions of that name in innermost loops
 */
interface Directives {
  readonly run: readonly Engine[];
  readonly aliases: ReadonlyMap<string, string>;
  readonly masks: ReadonlyMap<string, number>;
  readonly fixed: boolean;
  readonly given: ReadonlyMap<string, Uint8Array>;
  readonly expected: ReadonlyMap<string, Uint8Array>;
  readonly counts: readonly {
    readonly kind: "baseline" | "relaxed";
    readonly name: string;
    readonly n: number;
  }[];
}

function directives(text: string): Directives {
  const all = (pattern: RegExp): string[][] => [...text.matchAll(pattern)].map((m) => m.slice(1));
  const bytes = (hex: string): Uint8Array =>
    Uint8Array.from(hex.trim().split(/\s+/), (h) => Number.parseInt(h, 16));
  const pairs = (pattern: RegExp): Map<string, Uint8Array> =>
    new Map(all(pattern).map(([n, h]) => [n!, bytes(h!)]));
  return {
    run: all(/^\/\/ run: (.*)$/gm)[0]![0]!.split(" ") as Engine[],
    aliases: new Map(all(/^\/\/ alias @(\S+) @(\S+)$/gm).map(([a, b]) => [a!, b!])),
    masks: new Map(all(/^\/\/ max @(\S+) (\d+)$/gm).map(([n, v]) => [n!, Number(v)])),
    fixed: /^\/\/ fixed$/m.test(text),
    given: pairs(/^\/\/ in @(\S+) = (.*)$/gm),
    expected: pairs(/^\/\/ out @(\S+) = (.*)$/gm),
    counts: all(/^\/\/ innermost (\S+) (\S+) (\d+)$/gm).map(([kind, name, n]) => ({
      kind: kind as "baseline" | "relaxed",
      name: name!,
      n: Number(n),
    })),
  };
}

function parse(text: string, file: string): Program {
  const parsed = parseProgram(text, file);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.diagnostics[0]));
  return parsed.value;
}

for (const file of readdirSync(folder).filter((f) => f.endsWith(".qk")))
  describe(file, () => {
    const text = readFileSync(new URL(file, folder), "utf8");
    const program = parse(text, file);
    const { run, aliases, masks, fixed, given, expected, counts } = directives(text);
    const engines = run.filter((e) => e !== "relaxed" || hasRelaxed);

    it("prints and parses to itself", () => {
      expect(parse(printProgram(program), file)).toEqual(program);
    });

    it(`is the same in: ${engines.join(", ")}`, async () => {
      const runs = await Promise.all(engines.map((e) => engine(program, e, aliases)));
      for (let seed = 0; seed < (fixed ? 0 : 25); seed++) {
        const memory = initialMemory(program, seed);
        for (const [name, mask] of masks)
          memory.set(
            name,
            memory.get(name)!.map((b) => b & mask),
          );
        const oracle = runs[0]!(memory);
        runs.slice(1).forEach((r, i) => {
          expect(difference(oracle, r(memory)), `${engines[i + 1]} seed ${seed}`).toBeUndefined();
        });
      }
      if (expected.size === 0) return;
      const memory = new Map([...initialMemory(program, 0), ...given]);
      runs.forEach((r, i) => {
        const out = r(memory);
        for (const [name, bytes] of expected) expect(out.get(name), `${engines[i]} @${name}`).toEqual(bytes);
      });
    });

    for (const kind of ["baseline", "relaxed"] as const)
      it(`${kind} module: integers only, the expected instructions, reproducible`, async () => {
        const first = await compileWasm(program, kind, { profile: true, aliases });
        const second = await compileWasm(program, kind, { profile: true, aliases });
        expect(second.binary).toEqual(first.binary);
        const module = decodeWasm(first.binary);
        expect(floatUses(module)).toEqual([]);
        expect(module.sections.filter((s) => s.id === 0)).toEqual([]);
        const innermost = module.functions.flatMap((f) => f.loops.filter((l) => l.innermost));
        for (const c of counts.filter((x) => x.kind === kind))
          expect(
            innermost.reduce((n, l) => n + countOf(l.body, c.name), 0),
            c.name,
          ).toBe(c.n);
        const dots = module.functions.flatMap((f) => f.body).filter((i) => i.name.includes("relaxed"));
        if (kind === "baseline") expect(dots).toEqual([]);
      });
  });
