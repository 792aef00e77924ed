/** What `qc bench` prints, and the figures it prints. */
import type { Backend, Manifest } from "../../../runtime/index.ts";
import { countText, plain, table } from "../print.ts";
import type { Profile } from "./profile.ts";
import type { Spread } from "./sampling.ts";

/** Milliseconds of one `run()`, conversion of inputs and fresh output arrays included. */
export interface Latency extends Spread {
  readonly backend: Backend;
  /** Why these kernels. */
  readonly reason: string;
  /** Nominal multiply-accumulates. */
  readonly macsPerSecond: number;
  /** Present where several were asked for. */
  readonly threads?: { readonly count: number; readonly reason: string; readonly speedup: Spread };
}

export interface Peer extends Spread {
  readonly name: string;
  /** Its time over that of the backend that `load` chooses, of neighbouring samples. */
  readonly ratio: Spread;
}

export interface Measured {
  readonly latencies: readonly Latency[];
  readonly peer?: Peer;
  /** What was asked for and could not be done. */
  readonly notes: readonly string[];
}

const digits = (x: number): string => (x >= 100 ? x.toFixed(0) : x.toPrecision(3));
const plural = (threads: number): string => (threads === 1 ? "one thread" : `${threads} threads`);
const range = (s: Spread): string => `${digits(s.p10)}–${digits(s.p90)}`;

export function latencyText({ macs }: Manifest, { latencies, peer }: Measured): string {
  const rate = (perSecond: number): string => (macs.nominal ? (perSecond / 1e9).toFixed(1) : "");
  return table(
    [
      ["", "ms", "10th–90th percentile", "GMAC/s", "ratio", ""],
      ...latencies.map((l) => [
        l.threads ? `${l.backend}, ${plural(l.threads.count)}` : l.backend,
        digits(l.median),
        range(l),
        rate(l.macsPerSecond),
        l.threads ? `${l.threads.speedup.median.toFixed(2)}×` : "",
        ...(l.threads
          ? [`${range(l.threads.speedup)}, the time of one thread over its own; ${l.threads.reason}`]
          : [l.reason === "asked for" ? "" : l.reason]),
      ]),
      ...(peer
        ? [
            [
              peer.name,
              digits(peer.median),
              range(peer),
              rate((macs.nominal / peer.median) * 1000),
              `${peer.ratio.median.toFixed(2)}×`,
              `${range(peer.ratio)}, its time over that of ${latencies[0]!.backend}`,
            ],
          ]
        : []),
    ],
    [1, 2, 3, 4],
  );
}

export function profileText(p: Profile): string {
  const total = p.kernels.reduce((sum, k) => sum + k.ms, 0);
  const percent = (x: number): string => `${(100 * x).toFixed(1)} %`;
  const rows = [...p.kernels]
    .sort((a, b) => b.ms - a.ms)
    .map((k) => [
      plain(k.name.slice(-34)),
      (k.ms * 1000).toFixed(1),
      percent(k.ms / total),
      k.macs ? countText(k.macs) : "",
      k.macsPerCycle?.toFixed(2) ?? "",
      k.macsPerCycle === undefined ? "" : percent(k.macsPerCycle / p.peakMacsPerCycle),
      k.computes,
    ]);
  const sum = `kernels of ${p.backend}: sum ${(total * 1000).toFixed(0)} µs, run ${(p.runMs * 1000).toFixed(0)} µs`;
  return [
    table([["kernel", "µs", "share", "MACs", "MAC/cycle", "of peak", "computes"], ...rows], [1, 2, 3, 4, 5]),
    `\n${sum}; ${p.gigahertz.toFixed(2)} GHz; dot products in registers ${p.peakMacsPerCycle.toFixed(1)} MAC/cycle\n`,
  ].join("");
}
