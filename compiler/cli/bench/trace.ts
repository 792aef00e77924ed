/** A profile in the trace event format, for chrome://tracing and ui.perfetto.dev. */
import type { Profile } from "./profile.ts";

/** Timestamps and durations in microseconds. */
interface TraceEvent {
  readonly name: string;
  readonly ph: "X" | "M";
  readonly pid: number;
  readonly tid: number;
  readonly cat?: string;
  readonly ts?: number;
  readonly dur?: number;
  readonly args: { readonly [key: string]: string | number };
}

export interface Trace {
  readonly displayTimeUnit: "ms";
  readonly traceEvents: readonly TraceEvent[];
  readonly otherData: { readonly [key: string]: string | number };
}

const WHOLE = 1;
const KERNELS = 2;

/** The whole inference as one slice of a track, and the kernels end to end on another: each was timed by itself. */
export function traceOf(model: string, engine: string, p: Profile): Trace {
  const label = (name: string, tid: number, text: string): TraceEvent => ({
    name,
    ph: "M",
    pid: 1,
    tid,
    args: { name: text },
  });
  const slice = (
    name: string,
    tid: number,
    ts: number,
    ms: number,
    args: TraceEvent["args"],
  ): TraceEvent => ({
    name,
    cat: p.backend,
    ph: "X",
    pid: 1,
    tid,
    ts,
    dur: ms * 1000,
    args,
  });
  let at = 0;
  const kernels = p.kernels.map((k): TraceEvent => {
    const args = {
      computes: k.computes,
      macs: k.macs,
      ...(k.macsPerCycle !== undefined && {
        macsPerCycle: k.macsPerCycle,
        ofPeak: k.macsPerCycle / p.peakMacsPerCycle,
      }),
    };
    const event = slice(k.name, KERNELS, at, k.ms, args);
    at += k.ms * 1000;
    return event;
  });
  return {
    displayTimeUnit: "ms",
    traceEvents: [
      label("process_name", WHOLE, `qc: ${model}`),
      label("thread_name", WHOLE, "one inference"),
      label("thread_name", KERNELS, "kernels, each timed by itself"),
      slice("run", WHOLE, 0, p.runMs, { macs: p.kernels.reduce((n, k) => n + k.macs, 0) }),
      ...kernels,
    ],
    otherData: { engine, backend: p.backend, gigahertz: p.gigahertz, peakMacsPerCycle: p.peakMacsPerCycle },
  };
}
