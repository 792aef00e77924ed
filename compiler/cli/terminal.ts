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

/** Names the phase at work on a terminal, once a second has passed; `done` wipes the line. */
export function progress(terminal: Terminal, { quiet, json }: CommonOptions) {
  const started = performance.now();
  const shows = terminal.width !== undefined && !quiet && !json;
  let shown = false;
  return {
    phase(name: string): void {
      if (!shows || performance.now() - started < 1000) return;
      shown = true;
      terminal.err(`\r\x1b[K${name} …`);
    },
    done(): void {
      if (shown) terminal.err("\r\x1b[K");
      shown = false;
    },
  };
}
