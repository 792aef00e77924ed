/** The file format of golden tests: cases in `.qir` files, each with what is expected of it. */

export interface Expectation {
  /** Printed module, without comment marks; `undefined` if the case has none. */
  readonly text: string | undefined;
  /** `QC4021 at 3:5: message`; lines count from the case's first line. */
  readonly errors: readonly string[];
}

export interface Case {
  /** First comment line, or the first function's name. */
  readonly title: string;
  /** 1-based line of the file on which `input` starts. */
  readonly line: number;
  readonly input: string;
  readonly expected: Expectation;
  /** `// check: same` in the case or in the file's head. */
  readonly checkSame: boolean;
}

export interface FileTest {
  /** The directive lines before the first blank line. */
  readonly head: string;
  /** Argument of `// run: qc opt --passes=…`; empty for parse and verify only. */
  readonly passes: string;
  readonly cases: readonly Case[];
}

const SEPARATOR = "// -----";
const EXPECT = "// expect:";
const ERROR = "// error: ";

/** Reads a file; throws if the head has no `// run: qc opt` line, since such a file would test nothing. */
export function readFileTest(text: string): FileTest {
  const lines = text.split("\n");
  const blank = lines.indexOf("");
  const headLines = lines.slice(0, blank < 0 ? lines.length : blank);
  const head = headLines.join("\n");
  const run = headLines.map((l) => /^\/\/ run: qc opt(?: --passes=(.*))?$/.exec(l)).find((m) => m !== null);
  if (!run) throw new Error("the first lines need `// run: qc opt --passes=…`");
  const same = headLines.includes("// check: same");
  const cases: Case[] = [];
  let start = headLines.length;
  for (let i = start; i <= lines.length; i++)
    if (i === lines.length || lines[i] === SEPARATOR) {
      const chunk = lines.slice(start, i);
      if (chunk.some((l) => l.trim() !== "")) cases.push(readCase(chunk, start + 1, same));
      start = i + 1;
    }
  return { head, passes: run[1]?.trim() ?? "", cases };
}

function readCase(chunk: readonly string[], line: number, same: boolean): Case {
  const skip = chunk.findIndex((l) => l.trim() !== "");
  const lines = chunk.slice(skip);
  const expectAt = lines.indexOf(EXPECT);
  const body = expectAt < 0 ? lines : lines.slice(0, expectAt);
  const expected = expectAt < 0 ? undefined : lines.slice(expectAt + 1).map((l) => l.replace(/^\/\/ ?/, ""));
  const input = body
    .filter((l) => !l.startsWith(ERROR))
    .join("\n")
    .trimEnd();
  const title = /^\/\/ (.*)/.exec(input)?.[1] ?? /func (@\S+?)\(/.exec(input)?.[1] ?? "case";
  return {
    title,
    line: line + skip,
    input,
    expected: {
      text: expected?.join("\n").trim(),
      errors: body.filter((l) => l.startsWith(ERROR)).map((l) => l.slice(ERROR.length)),
    },
    checkSame: same || body.includes("// check: same"),
  };
}

/** The file with other expectations, one per case: the inverse of `readFileTest`. */
export function writeFileTest(file: FileTest, actual: readonly Expectation[]): string {
  const cases = file.cases.map((c, i) => {
    const { text, errors } = actual[i]!;
    const comment = (l: string): string => (l === "" ? "//" : `// ${l}`);
    const output = text === undefined ? [] : [EXPECT, ...text.split("\n").map(comment)];
    return [c.input, ...errors.map((e) => ERROR + e), ...output].join("\n");
  });
  return `${file.head}\n\n${cases.join(`\n\n${SEPARATOR}\n\n`)}\n`;
}
