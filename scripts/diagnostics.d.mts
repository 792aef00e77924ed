export interface MessageDoc {
  readonly code: string;
  readonly severity: string;
  /** With facts in ‹›. */
  readonly message: string;
  readonly doc: string;
  readonly fixes: readonly string[];
}
/** A message expression of the source as readers see it. */
export function template(expression: string): string;
export function messagesOf(source: string): MessageDoc[];
/** All messages, in the order of their codes. */
export function allMessages(): MessageDoc[];
/** docs/diagnostics.md. */
export function diagnosticsPage(): string;
