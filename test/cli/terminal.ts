/** Runs a command line in this process and keeps what it printed. */
import { main } from "../../compiler/cli/main.ts";

export interface Session {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export async function qc(...argv: readonly string[]): Promise<Session> {
  let out = "";
  let err = "";
  const code = await main(argv, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    color: false,
  });
  return { code, out, err };
}
