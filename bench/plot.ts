/** The ratios of the tables as a picture: `npx node bench/plot.ts` draws `ratios.svg` from `results-browser.json`. */
import { readFileSync, writeFileSync } from "node:fs";
import { type CustomSeriesRenderItem, type EChartsOption, init } from "echarts";
import type { Spread } from "../compiler/cli/bench/sampling.ts";
import type { ModelResult, Results } from "./results.ts";

interface Peer {
  readonly name: string;
  readonly color: string;
  readonly symbol: string;
  readonly ratio: (m: ModelResult) => Spread | undefined;
}

/** Told apart by shape as well as by colour. */
const PEERS: readonly Peer[] = [
  {
    name: "LiteRT.js, relaxed SIMD",
    color: "#d55e00",
    symbol: "diamond",
    ratio: (m) => m.litert?.find((l) => l.build === "default")?.ratio,
  },
  {
    name: "LiteRT.js compat, against qc baseline",
    color: "#e69f00",
    symbol: "triangle",
    ratio: (m) => m.litert?.find((l) => l.build === "compat")?.ratio,
  },
  { name: "onnxruntime-web int8", color: "#0072b2", symbol: "circle", ratio: (m) => m.ratio },
  { name: "onnxruntime-web fp32", color: "#009e73", symbol: "rect", ratio: (m) => m.float?.ratio },
];

const WIDTH = 860;
const ROW = 40;
const MARGIN = { left: 190, right: 30, top: 96, bottom: 64 };

/** Of what a row has, one below the other. */
const offsetOf = (index: number): number => (index - (PEERS.length - 1) / 2) * 8;

/** A line from the 10th to the 90th percentile. */
const range =
  (offset: number, color: string): CustomSeriesRenderItem =>
  (_, api) => {
    const at = (x: number): number[] => api.coord([api.value(x), api.value(2)]);
    const [[x1, y], [x2]] = [at(0), at(1)] as [[number, number], [number]];
    return {
      type: "line",
      shape: { x1, x2, y1: y + offset, y2: y + offset },
      style: { stroke: color, lineWidth: 2, opacity: 0.5 },
    };
  };

/** Equal results give equal text in a fresh process. */
export function ratiosSvg({ machine, models }: Results): string {
  const height = MARGIN.top + MARGIN.bottom + ROW * models.length;
  const chart = init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height });
  const series = PEERS.flatMap(({ name, color, symbol, ratio }, i) => {
    const offset = offsetOf(i);
    const seen = models.flatMap((m, row) => {
      const r = ratio(m);
      return r ? [{ ...r, row }] : [];
    });
    if (seen.length === 0) return [];
    return [
      {
        type: "custom" as const,
        name,
        silent: true,
        itemStyle: { color },
        encode: { x: [0, 1], y: 2 },
        data: seen.map((r) => [r.p10, r.p90, r.row]),
        renderItem: range(offset, color),
        clip: true,
      },
      {
        type: "scatter" as const,
        name,
        symbol,
        symbolSize: 9,
        symbolOffset: [0, offset],
        itemStyle: { color },
        data: seen.map((r) => [r.median, r.row]),
      },
    ];
  });
  const medians = models.flatMap((m) => PEERS.flatMap(({ ratio }) => ratio(m)?.median ?? []));
  const option: EChartsOption = {
    animation: false,
    backgroundColor: "#fff",
    title: {
      text: "How many times faster qc is",
      subtext:
        `one thread, ${machine.engine}, ${machine.cpu} (${machine.extensions.join(", ")}), qc ${machine.commit}, ` +
        (machine.relaxedRefusal === undefined
          ? "relaxed kernels"
          : "baseline kernels: relaxed ones do not run here"),
      left: 12,
      top: 8,
    },
    legend: {
      top: 62,
      left: 8,
      itemGap: 14,
      data: PEERS.filter(({ ratio }) => models.some(ratio)).map(({ name, symbol, color }) => ({
        name,
        icon: symbol,
        itemStyle: { color },
      })),
    },
    grid: { ...MARGIN },
    xAxis: {
      type: "log",
      logBase: 2,
      min: 2 ** Math.floor(Math.log2(Math.min(1, ...medians) / 1.2)),
      max: 2 ** Math.ceil(Math.log2(Math.max(2, ...medians) * 1.2)),
      name: "time of the other engine ÷ time of qc (log scale); lines: 10th to 90th percentile",
      nameLocation: "middle",
      nameGap: 34,
      axisLabel: { formatter: (x: number) => `${x}×` },
      splitLine: { lineStyle: { color: "#ddd" } },
    },
    yAxis: {
      type: "category",
      data: models.map((m) => m.name),
      inverse: true,
      axisTick: { show: false },
      axisLine: { show: false },
      splitLine: { show: true, interval: 0, lineStyle: { color: "#eee" } },
    },
    series: [
      ...series,
      {
        type: "line",
        silent: true,
        data: [],
        markLine: {
          symbol: "none",
          data: [{ xAxis: 1 }],
          label: { show: false },
          lineStyle: { color: "#333", type: "solid", width: 1.5 },
        },
      },
    ],
  };
  chart.setOption(option);
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

/** Writes `ratios.svg` beside this file. */
export function drawRatios(results: Results): void {
  writeFileSync(new URL("./ratios.svg", import.meta.url), ratiosSvg(results));
}

if (import.meta.main) {
  const path = new URL("./results-browser.json", import.meta.url);
  drawRatios(JSON.parse(readFileSync(path, "utf8")) as Results);
}
