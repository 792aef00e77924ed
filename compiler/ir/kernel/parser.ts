/** Reads `.qk` text: the printer's output, plus `//` comments and free layout. */
import { createToken, EmbeddedActionsParser, type IToken, Lexer, type TokenType } from "chevrotain";
import { fail, ok, type Result } from "../diagnostics.ts";
import { kernelSyntax } from "../messages-kernel.ts";
import {
  type Buffer,
  type Expr,
  type Kernel,
  type KType,
  type LoadOp,
  type OpName,
  type Program,
  type Role,
  type Stmt,
  type StoreOp,
  signatures,
} from "./ir.ts";
import { loadTypes, storeTypes } from "./verifier.ts";

const Skip = createToken({
  name: "Skip",
  pattern: /\s+|\/\/[^\n]*/,
  group: Lexer.SKIPPED,
  line_breaks: true,
});
const Comment = createToken({ name: "Comment", pattern: /#[^\n]*/ });
const AtName = createToken({ name: "AtName", pattern: /@(?:[A-Za-z0-9_.]+|"(?:[^"\\\n]|\\.)*")/ });
const Percent = createToken({ name: "Percent", pattern: /%(?:[A-Za-z0-9_.]+|"(?:[^"\\\n]|\\.)*")/ });
const Text = createToken({ name: "Text", pattern: /"[^"\n]*"/ });
const Int = createToken({ name: "Int", pattern: /-?\d+/ });
const Word = createToken({ name: "Word", pattern: /[a-z][a-z0-9_]*(?:\.[a-z0-9]+)?/ });
const keyword = (word: string): TokenType =>
  createToken({ name: `"${word}"`, pattern: word, longer_alt: Word });
const symbol = (s: string): TokenType => createToken({ name: `"${s}"`, pattern: s });

const K = {
  kernel: keyword("kernel"),
  reads: keyword("reads"),
  writes: keyword("writes"),
  private: keyword("private"),
  data: keyword("data"),
  bytes: keyword("bytes"),
  align: keyword("align"),
  let: keyword("let"),
  var: keyword("var"),
  set: keyword("set"),
  for: keyword("for"),
  to: keyword("to"),
  step: keyword("step"),
  parallel: keyword("parallel"),
  if: keyword("if"),
  else: keyword("else"),
  lane: keyword("lane"),
  fill: keyword("fill"),
  with: keyword("with"),
  copy: keyword("copy"),
  from: keyword("from"),
};
const S = {
  open: symbol("("),
  close: symbol(")"),
  openBrace: symbol("{"),
  closeBrace: symbol("}"),
  openBracket: symbol("["),
  closeBracket: symbol("]"),
  comma: symbol(","),
  semicolon: symbol(";"),
  equals: symbol("="),
  plus: symbol("+"),
  minus: symbol("-"),
};
const tokens = [Skip, Comment, AtName, Percent, Text, Int, ...Object.values(K), Word, ...Object.values(S)];
const lexer = new Lexer(tokens, { positionTracking: "full" });

/** Thrown inside the parser only, for what the grammar cannot express. */
interface Misuse {
  readonly token: IToken;
  readonly text: string;
}
const misuse = (token: IToken, text: string): never => {
  throw { token, text } satisfies Misuse;
};
const isMisuse = (e: unknown): e is Misuse =>
  typeof e === "object" && e !== null && "token" in e && "text" in e;

const nameOf = (t: IToken): string => {
  const s = t.image.slice(1);
  return s.startsWith('"') ? (JSON.parse(s) as string) : s;
};
const types: readonly string[] = loadTypes.load;
const isType = (s: string): s is KType => types.includes(s);
const isRole = (s: string): s is Role => ["input", "output", "temp", "const"].includes(s);

type Place = { readonly buf: string; readonly addr: Expr; readonly offset: number };

function unhex(t: IToken): Uint8Array {
  const s = t.image.slice(1, -1);
  if (!/^(?:[0-9a-f]{2})*$/.test(s)) misuse(t, "data is pairs of hexadecimal digits");
  return Uint8Array.from({ length: s.length / 2 }, (_, i) => Number.parseInt(s.slice(2 * i, 2 * i + 2), 16));
}

/** chevrotain grammars are classes. Rules return IR; `ACTION` keeps the recording pass away from it. */
class Grammar extends EmbeddedActionsParser {
  private scope = new Map<string, KType>();

  constructor() {
    super(tokens, { recoveryEnabled: false });
    this.performSelfAnalysis();
  }

  readonly program = this.RULE("program", (): Program => {
    const buffers: Buffer[] = [];
    const kernels: Kernel[] = [];
    const data = new Map<string, Uint8Array>();
    this.MANY(() => {
      this.OR([
        {
          ALT: () => {
            const b = this.SUBRULE(this.buffer);
            this.ACTION(() => buffers.push(b));
          },
        },
        {
          ALT: () => {
            const k = this.SUBRULE(this.kernel);
            this.ACTION(() => kernels.push(k));
          },
        },
        {
          ALT: () => {
            this.CONSUME(K.data);
            const name = this.CONSUME(AtName);
            const text = this.CONSUME(Text);
            this.ACTION(() => {
              if (!buffers.some((b) => b.name === nameOf(name)))
                misuse(name, `${name.image} is not declared`);
              data.set(nameOf(name), unhex(text));
            });
          },
        },
      ]);
    });
    return this.ACTION(() => ({
      buffers: buffers.map((b) => {
        const d = data.get(b.name);
        return d ? { ...b, data: d } : b;
      }),
      kernels,
    }));
  });

  private buffer = this.RULE("buffer", (): Buffer => {
    const role = this.CONSUME(Word);
    const name = this.CONSUME(AtName);
    this.CONSUME(K.bytes);
    const bytes = this.SUBRULE(this.int);
    this.CONSUME(K.align);
    const align = this.SUBRULE2(this.int);
    return this.ACTION(() =>
      isRole(role.image)
        ? { name: nameOf(name), role: role.image, bytes, align }
        : misuse(role, `"${role.image}" is not input, output, temp, const, kernel or data`),
    );
  });

  private kernel = this.RULE("kernel", (): Kernel => {
    this.CONSUME(K.kernel);
    const name = this.CONSUME(AtName);
    this.ACTION(() => this.scope.clear());
    this.CONSUME(K.reads);
    const reads = this.SUBRULE(this.names);
    this.CONSUME(K.writes);
    const writes = this.SUBRULE2(this.names);
    const own = this.OPTION(() => {
      this.CONSUME(K.private);
      return this.SUBRULE3(this.names);
    });
    const body = this.SUBRULE(this.block);
    return this.ACTION(() => ({ name: nameOf(name), reads, writes, ...(own && { private: own }), body }));
  });

  private names = this.RULE("names", (): string[] => {
    const list: string[] = [];
    this.CONSUME(S.open);
    this.MANY_SEP({
      SEP: S.comma,
      DEF: () => {
        const t = this.CONSUME(AtName);
        this.ACTION(() => list.push(nameOf(t)));
      },
    });
    this.CONSUME(S.close);
    return list;
  });

  private block = this.RULE("block", (): Stmt[] => {
    const body: Stmt[] = [];
    this.CONSUME(S.openBrace);
    this.MANY(() => {
      const s = this.SUBRULE(this.stmt);
      this.ACTION(() => body.push(s));
    });
    this.CONSUME(S.closeBrace);
    return body;
  });

  private stmt = this.RULE(
    "stmt",
    (): Stmt =>
      this.OR<Stmt>([
        { ALT: () => this.SUBRULE(this.comment) },
        { ALT: () => this.SUBRULE(this.binding) },
        { ALT: () => this.SUBRULE(this.loop) },
        { ALT: () => this.SUBRULE(this.branch) },
        { ALT: () => this.SUBRULE(this.store) },
        { ALT: () => this.SUBRULE(this.fill) },
        { ALT: () => this.SUBRULE(this.copy) },
      ]),
  );

  private comment = this.RULE("comment", (): Stmt => {
    const t = this.CONSUME(Comment);
    return this.ACTION(() => ({ k: "comment", text: t.image.slice(1).trim() }));
  });

  private binding = this.RULE("binding", (): Stmt => {
    const word = this.OR<IToken>([
      { ALT: () => this.CONSUME(K.let) },
      { ALT: () => this.CONSUME(K.var) },
      { ALT: () => this.CONSUME(K.set) },
    ]);
    const t = this.CONSUME(Percent);
    this.CONSUME(S.equals);
    const value = this.SUBRULE(this.expr);
    return this.ACTION(() => {
      const name = nameOf(t);
      const k = word.image as "let" | "var" | "set";
      if (k !== "set") this.scope.set(name, value.type);
      return { k, name, value };
    });
  });

  private loop = this.RULE("loop", (): Stmt => {
    this.CONSUME(K.for);
    const t = this.CONSUME(Percent);
    this.CONSUME(S.equals);
    const start = this.SUBRULE(this.expr);
    this.CONSUME(K.to);
    const end = this.SUBRULE2(this.expr);
    this.CONSUME(K.step);
    const step = this.SUBRULE(this.int);
    const parallel = this.OPTION(() => this.CONSUME(K.parallel));
    this.ACTION(() => this.scope.set(nameOf(t), "i32"));
    const body = this.SUBRULE(this.block);
    return this.ACTION(() => ({
      k: "for",
      ...(parallel && { parallel: true }),
      i: nameOf(t),
      start,
      end,
      step,
      body,
    }));
  });

  private branch = this.RULE("branch", (): Stmt => {
    this.CONSUME(K.if);
    const cond = this.SUBRULE(this.expr);
    const then = this.SUBRULE(this.block);
    const otherwise = this.OPTION(() => {
      this.CONSUME(K.else);
      return this.SUBRULE2(this.block);
    });
    return this.ACTION(() => ({ k: "if", cond, then, else: otherwise ?? [] }));
  });

  private store = this.RULE("store", (): Stmt => {
    const word = this.CONSUME(Word);
    const place = this.SUBRULE(this.place);
    this.CONSUME(S.comma);
    const value = this.SUBRULE(this.expr);
    const lane = this.OPTION(() => {
      this.CONSUME(K.lane);
      return this.SUBRULE(this.int);
    });
    return this.ACTION(() => {
      if (!Object.hasOwn(storeTypes, word.image)) misuse(word, `"${word.image}" is not a statement`);
      return { k: "store", op: word.image as StoreOp, ...place, value, lane: lane ?? 0 };
    });
  });

  private fill = this.RULE("fill", (): Stmt => {
    this.CONSUME(K.fill);
    const place = this.SUBRULE(this.place);
    this.CONSUME(K.with);
    const byte = this.SUBRULE(this.int);
    this.CONSUME(K.bytes);
    const bytes = this.SUBRULE2(this.int);
    return this.ACTION(() => ({ k: "fill", ...place, byte, bytes }));
  });

  private copy = this.RULE("copy", (): Stmt => {
    const word = this.CONSUME(K.copy);
    const to = this.SUBRULE(this.place);
    this.CONSUME(K.from);
    const from = this.SUBRULE2(this.place);
    this.CONSUME(K.bytes);
    const bytes = this.SUBRULE(this.int);
    return this.ACTION(() => {
      if (to.offset !== 0 || from.offset !== 0) misuse(word, "copy takes no offset");
      return { k: "copy", to: to.buf, toAddr: to.addr, from: from.buf, fromAddr: from.addr, bytes };
    });
  });

  private place = this.RULE("place", (): Place => {
    const t = this.CONSUME(AtName);
    this.CONSUME(S.openBracket);
    const addr = this.SUBRULE(this.expr);
    const offset = this.OPTION(() => {
      const sign = this.OR<IToken>([
        { ALT: () => this.CONSUME(S.plus) },
        { ALT: () => this.CONSUME(S.minus) },
      ]);
      const n = this.SUBRULE(this.int);
      return this.ACTION(() => (sign.image === "-" ? -n : n));
    });
    this.CONSUME(S.closeBracket);
    return this.ACTION(() => ({ buf: nameOf(t), addr, offset: offset ?? 0 }));
  });

  private int = this.RULE("int", (): number => {
    const t = this.CONSUME(Int);
    return this.ACTION(() => Number(t.image));
  });

  private expr = this.RULE(
    "expr",
    (): Expr =>
      this.OR<Expr>([
        {
          ALT: () => {
            const value = this.SUBRULE(this.int);
            return this.ACTION((): Expr => ({ k: "const", type: "i32", value }));
          },
        },
        {
          ALT: () => {
            const t = this.CONSUME(Percent);
            return this.ACTION((): Expr => {
              const name = nameOf(t);
              const type = this.scope.get(name) ?? misuse(t, `${t.image} is not defined`);
              return { k: "var", type, name };
            });
          },
        },
        { ALT: () => this.SUBRULE(this.application) },
      ]),
  );

  private application = this.RULE("application", (): Expr => {
    const word = this.CONSUME(Word);
    return this.OR<Expr>([
      {
        ALT: () => {
          const place = this.SUBRULE(this.place);
          return this.ACTION((): Expr => {
            const [op = "", type = ""] = word.image.split(".");
            if (!Object.hasOwn(loadTypes, op) || !isType(type))
              return misuse(word, `"${word.image}" is not a load`);
            return { k: "load", type, op: op as LoadOp, ...place };
          });
        },
      },
      {
        ALT: () => {
          const args: Expr[] = [];
          const imm: number[] = [];
          this.CONSUME(S.open);
          this.MANY_SEP({
            SEP: S.comma,
            DEF: () => {
              const e = this.SUBRULE(this.expr);
              this.ACTION(() => args.push(e));
            },
          });
          this.OPTION(() => {
            this.CONSUME(S.semicolon);
            this.AT_LEAST_ONE_SEP({
              SEP: S.comma,
              DEF: () => {
                const n = this.SUBRULE(this.int);
                this.ACTION(() => imm.push(n));
              },
            });
          });
          this.CONSUME(S.close);
          return this.ACTION(() => apply(word, args, imm));
        },
      },
    ]);
  });
}

function apply(word: IToken, args: readonly Expr[], imm: readonly number[]): Expr {
  const name = word.image;
  if (isType(name)) {
    const values = args.map((a) =>
      a.k === "const" && typeof a.value === "number" ? a.value : misuse(word, "a constant has numbers"),
    );
    const [first] = values;
    if (first === undefined || imm.length) return misuse(word, "a constant has numbers");
    return { k: "const", type: name, value: values.length === 1 ? first : values };
  }
  if (!Object.hasOwn(signatures, name)) return misuse(word, `"${name}" is not an op`);
  const op = name as OpName;
  return { k: "op", type: signatures[op].out, op, args, imm };
}

let grammar: Grammar | undefined;

/** Syntax, names and ops only; `verifyProgram` checks the rest. */
export function parseProgram(text: string, file = "kernel.qk"): Result<Program> {
  const lexed = lexer.tokenize(text);
  const [unknown] = lexed.errors;
  if (unknown) return fail(kernelSyntax(unknown.message, file, unknown.line ?? 1, unknown.column ?? 1));
  grammar ??= new Grammar();
  grammar.input = lexed.tokens;
  try {
    const program = grammar.program();
    const [error] = grammar.errors;
    if (!error) return ok(program);
    const previous = lexed.tokens.at(-1);
    const { startLine, startColumn } = error.token;
    // The end of the text has no position of its own.
    const atEnd = startLine === undefined || Number.isNaN(startLine);
    const line = atEnd ? (previous?.endLine ?? 1) : startLine;
    const column = atEnd ? (previous?.endColumn ?? 1) : (startColumn ?? 1);
    return fail(kernelSyntax(error.message.replace(/\s+/g, " "), file, line, column));
  } catch (e) {
    if (!isMisuse(e)) throw e;
    return fail(kernelSyntax(e.text, file, e.token.startLine ?? 1, e.token.startColumn ?? 1));
  }
}
