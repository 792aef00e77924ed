/** Where a command writes: injected, so that tests see exactly what a user sees. */
export interface Terminal {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly color: boolean;
  /** Columns, where standard error is a terminal; text is wrapped only then. */
  readonly width?: number;
}

/** Options every command takes. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function systemTerminal(): Terminal {
  const { stdout, stderr, env } = process;
  const width = stderr.isTTY ? stderr.columns : undefined;
  return {
    out: (text) => stdout.write(text),
    err: (text) => stderr.write(text),
    color: stderr.isTTY === true && !env.NO_COLOR && env.TERM !== "dumb",
    ...(width !== undefined && { width }),
  };
}

/** Milliseconds before anything is shown, and between two shares of one phase. */
const PATIENCE = 1000;
const PACE = 100;

/** Names the phase at work on a terminal, once a second has passed, and how far it is; `done` wipes the line. */
export function progress(terminal: Terminal, { quiet, json }: CommonOptions) {
  const shows = terminal.width !== undefined && !quiet && !json;
  const first = performance.now() + PATIENCE;
  let next = first;
  let shown = "";
  return {
    phase(name: string, share?: number): void {
      const now = performance.now();
      if (!shows || now < (share === undefined ? first : next)) return;
      const text = share === undefined ? name : `${name} ${Math.floor(share * 100)} %`;
      if (share !== undefined) next = now + PACE;
      if (text !== shown) terminal.err(`\r\x1b[K${text} …`);
      shown = text;
    },
    done(): void {
      if (shown !== "") terminal.err("\r\x1b[K");
      shown = "";
    },
  };
}
