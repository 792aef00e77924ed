/**
 * Text to module. The only door to chevrotain in the graph IR: import this file lazily.
 *
 *     module := func* ("data" "{" (@name "=" (list | container string))* "}")?
 *     func   := "func" @name "(" (%v ":" type dict?),* ")" "->" ("(" (type dict?),* ")" | type) "{" op* "return" %v,* "}"
 *     op     := (%v,+ "=")? name %v,* dict? (":" type,+)? ("loc" "(" dict ")")?
 *     type   := "tensor" "<" (int "x")* elem ">"
 *     elem   := iN | uN | fN | "!q" "<" (iN | uN) ("<" lo ":" hi ">")? "," (scale (":" zero)? | "axis" n "," list ("," list)?) ">"
 *     value  := null | true | false | number | intn | num/den | string | list | dict | @name | "dense" "<" … ">" (list | @name)
 */
import {
  createToken,
  EmbeddedActionsParser,
  type ILexingError,
  type IRecognitionException,
  type IToken,
  Lexer,
  type ParserMethod,
  type TokenType,
} from "chevrotain";
import type { Diagnostic, Loc, Result } from "./diagnostics.ts";
import { fail } from "./diagnostics.ts";
import { textDepth, textSyntax, textToken } from "./messages-text.ts";
import type { Module } from "./module.ts";
import type {
  AttrNode,
  DataNode,
  ElemNode,
  EntryNode,
  FuncNode,
  ModuleNode,
  OpNode,
  PortNode,
  SchemeNode,
  Tok,
  TypeNode,
} from "./text/ast.ts";
import { resolveModule } from "./text/resolve.ts";

/** A quoted string at `start`, found by scanning: strings may have millions of characters. */
function matchString(text: string, start: number): [string] | null {
  if (text.charCodeAt(start) !== 34) return null;
  for (let i = start + 1; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 34) return [text.slice(start, i + 1)];
    if (c === 92) i++;
    else if (c === 10) return null;
  }
  return null;
}

const token = (name: string, pattern: RegExp | string, more: object = {}): TokenType =>
  createToken({ name, pattern, ...more });

/** Any word: identifiers and keywords, all usable as attribute keys. */
const Word = createToken({ name: "word", pattern: Lexer.NA });
const Ident = token("identifier", /[A-Za-z_$][\w$]*(?:\.[\w$]+)*/, { categories: [Word] });
const keyword = (text: string): TokenType =>
  token(`'${text}'`, text, { longer_alt: Ident, categories: [Word] });
const [Func, Return, Data, LocWord, Tensor, DenseWord] = (
  ["func", "return", "data", "loc", "tensor", "dense"] as const
).map(keyword) as [TokenType, TokenType, TokenType, TokenType, TokenType, TokenType];
/** `null`, `true`, `false`, `nan`, `inf`: words and values. */
const Atom = token("constant", /(?:null|true|false|nan|inf)\b/, { longer_alt: Ident, categories: [Word] });
const Dims = token("shape", /(?:\d+x)+/);
const Rational = token("rational", /-?\d+\/\d+/);
const Big = token("big integer", /-?\d+n\b/);
const Num = token("number", /-inf\b|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?f?/);
const Str = createToken({
  name: "string",
  pattern: { exec: matchString },
  start_chars_hint: ['"'],
  line_breaks: false,
});
const ValueName = token("value", /%[\w.$-]+/);
const SymbolName = token("symbol", /@(?:[\w.$-]+|"(?:[^"\\\n]|\\.){0,4000}")/);
const Hash = token("fingerprint", /#[0-9a-f]+/);
const Quant = token("'!q'", "!q");
const Arrow = token("'->'", "->");
const punctuation = (text: string): TokenType => token(`'${text}'`, text);
const [LParen, RParen, LBrace, RBrace, LSquare, RSquare, LAngle, RAngle, Comma, Colon, Equals] = [
  ..."(){}[]<>,:=",
].map(punctuation) as { [i: number]: TokenType } as TokenType[] & { [i: number]: TokenType };
const Skipped = token("space", /\s+|\/\/[^\n]*/, { group: Lexer.SKIPPED, line_breaks: true });

const TOKENS: TokenType[] = [
  Skipped,
  Func,
  Return,
  Data,
  LocWord,
  Tensor,
  DenseWord,
  Atom,
  Ident,
  Word,
  Dims,
  Rational,
  Big,
  Arrow,
  Num,
  Str,
  ValueName,
  SymbolName,
  Hash,
  Quant,
  ...[LParen, RParen, LBrace, RBrace, LSquare, RSquare, LAngle, RAngle, Comma, Colon, Equals].map((t) => t!),
];

const lexer = new Lexer(TOKENS, { positionTracking: "full" });

const tok = (t: IToken): Tok => ({
  image: t.image,
  kind: t.tokenType.name,
  line: t.startLine ?? 1,
  column: t.startColumn ?? 1,
});

class Grammar extends EmbeddedActionsParser {
  readonly module: ParserMethod<[], ModuleNode>;

  constructor() {
    super(TOKENS, { recoveryEnabled: false, maxLookahead: 2 });
    const take = (type: TokenType, i: 0 | 1 | 2 | 3 | 4 = 0): Tok => tok(this.consume(i, type));
    /** `item` once or more, separated by commas. */
    const commas = <T>(rule: () => T): T[] => {
      const out: T[] = [];
      this.AT_LEAST_ONE_SEP({ SEP: Comma!, DEF: () => out.push(rule()) });
      return out;
    };

    const atom = this.RULE("atom", (): AttrNode => {
      const t = this.OR(
        [Atom, Num, Big, Rational, Str, SymbolName, Hash].map((type) => ({ ALT: () => take(type) })),
      );
      return { kind: "atom", tok: t };
    });
    const list = this.RULE("list", (): AttrNode => {
      const start = take(LSquare!);
      const items: AttrNode[] = [];
      this.MANY_SEP({ SEP: Comma!, DEF: () => items.push(this.SUBRULE(value)) });
      take(RSquare!);
      return { kind: "list", tok: start, items };
    });
    const entry = this.RULE("entry", (): EntryNode => {
      const key = this.OR([{ ALT: () => take(Word) }, { ALT: () => take(Str) }]);
      take(Equals!);
      return { key, value: this.SUBRULE(value) };
    });
    const dict = this.RULE("dict", (): AttrNode & { kind: "dict" } => {
      const start = take(LBrace!);
      const entries: EntryNode[] = [];
      this.MANY_SEP({ SEP: Comma!, DEF: () => entries.push(this.SUBRULE(entry)) });
      take(RBrace!);
      return { kind: "dict", tok: start, entries };
    });
    const dense = this.RULE("dense", (): AttrNode => {
      const start = take(DenseWord);
      take(LAngle!);
      const dims = this.OPTION(() => take(Dims));
      const elem = take(Ident);
      take(RAngle!);
      const content = this.OR<AttrNode>([
        { ALT: () => this.SUBRULE(list) },
        { ALT: () => ({ kind: "atom", tok: take(SymbolName) }) },
        { ALT: () => ({ kind: "atom", tok: take(Hash) }) },
      ]);
      return { kind: "dense", tok: start, dims, elem, value: content };
    });
    const value: ParserMethod<[], AttrNode> = this.RULE(
      "attribute value",
      (): AttrNode =>
        this.OR<AttrNode>([
          { ALT: () => this.SUBRULE(atom) },
          { ALT: () => this.SUBRULE(list) },
          { ALT: () => this.SUBRULE(dict) },
          { ALT: () => this.SUBRULE(dense) },
        ]),
    );
    const numbers = this.RULE(
      "numbers",
      (): AttrNode =>
        this.OR<AttrNode>([
          { ALT: () => this.SUBRULE(list) },
          { ALT: () => ({ kind: "atom", tok: take(SymbolName) }) },
          { ALT: () => ({ kind: "atom", tok: take(Hash) }) },
        ]),
    );

    const number = this.RULE(
      "numeral",
      (): Tok => this.OR([{ ALT: () => take(Num) }, { ALT: () => take(Atom) }]),
    );
    const scheme = this.RULE(
      "scheme",
      (): SchemeNode =>
        this.OR<SchemeNode>([
          {
            ALT: () => {
              const scale = this.SUBRULE(number);
              const zeroPoint = this.OPTION(() => {
                take(Colon!);
                return this.SUBRULE1(number);
              });
              return { kind: "tensor", scale, zeroPoint };
            },
          },
          {
            ALT: () => {
              take(Ident); // `axis`
              const axis = take(Num);
              take(Comma!);
              const scales = this.SUBRULE(numbers);
              const zeroPoints = this.OPTION1(() => {
                take(Comma!, 1);
                return this.SUBRULE1(numbers);
              });
              return { kind: "axis", axis, scales, zeroPoints };
            },
          },
        ]),
    );
    const quant = this.RULE("quantised type", (): ElemNode => {
      take(Quant);
      take(LAngle!);
      const storage = take(Ident);
      const range = this.OPTION((): readonly [Tok, Tok] => {
        take(LAngle!, 1);
        const lo = take(Num);
        take(Colon!);
        const hi = take(Num, 1);
        take(RAngle!);
        return [lo, hi];
      });
      take(Comma!);
      const s = this.SUBRULE(scheme);
      take(RAngle!, 1);
      return { tok: storage, quant: { range, scheme: s } };
    });
    const type = this.RULE("type", (): TypeNode => {
      const start = take(Tensor);
      take(LAngle!);
      const dims = this.OPTION(() => take(Dims));
      const elem = this.OR<ElemNode>([
        { ALT: () => ({ tok: take(Ident), quant: undefined }) },
        { ALT: () => this.SUBRULE(quant) },
      ]);
      take(RAngle!);
      return { tok: start, dims, elem };
    });

    const param = this.RULE("parameter", (): PortNode => {
      const name = take(ValueName);
      take(Colon!);
      return { value: name, type: this.SUBRULE(type), attrs: this.OPTION(() => this.SUBRULE(dict)) };
    });
    const result = this.RULE("result", (): PortNode => {
      return { value: undefined, type: this.SUBRULE(type), attrs: this.OPTION(() => this.SUBRULE(dict)) };
    });
    const values = this.RULE("values", (): Tok[] => commas(() => take(ValueName)));
    const types = this.RULE("types", (): TypeNode[] => commas(() => this.SUBRULE(type)));
    const op = this.RULE("operation", (): OpNode => {
      const results = this.OPTION(() => {
        const names = this.SUBRULE(values);
        take(Equals!);
        return names;
      });
      const name = take(Ident);
      const operands = this.OPTION1(() => this.SUBRULE1(values));
      const attrs = this.OPTION2(() => this.SUBRULE(dict));
      const resultTypes = this.OPTION3(() => {
        take(Colon!);
        return this.SUBRULE(types);
      });
      const loc = this.OPTION4(() => {
        take(LocWord);
        take(LParen!);
        const d = this.SUBRULE1(dict);
        take(RParen!);
        return d;
      });
      return {
        results: results ?? [],
        name,
        operands: operands ?? [],
        attrs: attrs?.entries ?? [],
        types: resultTypes ?? [],
        loc,
      };
    });
    const func = this.RULE("function", (): FuncNode => {
      take(Func);
      const name = take(SymbolName);
      take(LParen!);
      const params: PortNode[] = [];
      this.MANY_SEP({ SEP: Comma!, DEF: () => params.push(this.SUBRULE(param)) });
      take(RParen!);
      take(Arrow);
      const results: PortNode[] = [];
      this.OR([
        {
          ALT: () => {
            take(LParen!, 1);
            this.MANY_SEP1({ SEP: Comma!, DEF: () => results.push(this.SUBRULE(result)) });
            take(RParen!, 1);
          },
        },
        { ALT: () => results.push({ value: undefined, type: this.SUBRULE(type), attrs: undefined }) },
      ]);
      take(LBrace!);
      const ops: OpNode[] = [];
      this.MANY(() => ops.push(this.SUBRULE(op)));
      const ret = take(Return);
      const returned = this.OPTION(() => this.SUBRULE(values)) ?? [];
      take(RBrace!);
      return { name, params, results, ops, ret, returned };
    });
    const datum = this.RULE("data entry", (): DataNode => {
      const name = take(SymbolName);
      take(Equals!);
      return this.OR<DataNode>([
        { ALT: () => ({ name, container: undefined, value: this.SUBRULE(list) }) },
        {
          ALT: () => {
            const container = take(Ident);
            return { name, container, value: { kind: "atom", tok: take(Str) } };
          },
        },
      ]);
    });
    this.module = this.RULE("module", (): ModuleNode => {
      const funcs: FuncNode[] = [];
      const data: DataNode[] = [];
      this.MANY(() => funcs.push(this.SUBRULE(func)));
      this.OPTION(() => {
        take(Data);
        take(LBrace!);
        this.MANY1(() => data.push(this.SUBRULE(datum)));
        take(RBrace!);
      });
      return { funcs, data };
    });
    this.performSelfAnalysis();
  }
}

/** The parser recurses per bracket. */
const MAX_DEPTH = 64;

function tooDeep(tokens: readonly IToken[]): IToken | undefined {
  let depth = 0;
  for (const t of tokens) {
    if (t.tokenType === LSquare || t.tokenType === LBrace) depth++;
    else if (t.tokenType === RSquare || t.tokenType === RBrace) depth--;
    if (depth > MAX_DEPTH) return t;
  }
  return undefined;
}

let grammar: Grammar | undefined;

const at = (file: string, line: number | undefined, column: number | undefined): Loc => ({
  kind: "text",
  file,
  line: line !== undefined && line > 0 ? line : 1,
  column: column !== undefined && column > 0 ? column : 1,
});

const lexical = (e: ILexingError, text: string, file: string): Diagnostic =>
  textToken(text.slice(e.offset, e.offset + Math.min(e.length, 20)), at(file, e.line, e.column));

function syntactic(e: IRecognitionException, text: string, file: string): Diagnostic {
  const end = Number.isNaN(e.token.startOffset) || e.token.image === "";
  if (!end) return textSyntax(e.token.image, e.message, at(file, e.token.startLine, e.token.startColumn));
  const lines = text.trimEnd().split("\n");
  return textSyntax(undefined, e.message, at(file, lines.length, (lines.at(-1) ?? "").length + 1));
}

/**
 * Reads a module. Never throws: every fault is a diagnostic with line and column in `file`. Names are resolved and
 * defaults of the op table filled in; everything else is the verifier's to check.
 */
export function parseModule(text: string, file = "<text>"): Result<Module> {
  const lexed = lexer.tokenize(text);
  if (lexed.errors.length > 0) return fail(...lexed.errors.slice(0, 10).map((e) => lexical(e, text, file)));
  const deep = tooDeep(lexed.tokens);
  if (deep) return fail(textDepth(MAX_DEPTH, at(file, deep.startLine, deep.startColumn)));
  grammar ??= new Grammar();
  grammar.input = lexed.tokens;
  const tree = grammar.module();
  if (grammar.errors.length > 0)
    return fail(...grammar.errors.slice(0, 10).map((e) => syntactic(e, text, file)));
  return resolveModule(tree, file);
}
