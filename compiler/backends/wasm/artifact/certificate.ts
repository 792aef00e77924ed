/** Rescales as the manifest lists them. */
import type { RescaleCertificate } from "../../../../runtime/format.ts";
import type { Rational } from "../../../ir/rational.ts";
import type { Certificate, IntRange, RequantSpec, Rescale } from "../../../ir/rescale/types.ts";

export interface CertifiedRescale {
  /** Name of the tensor it produces. */
  readonly tensor: string;
  /** Per channel; zero point, rounding and order are common. */
  readonly specs: readonly RequantSpec[];
  /** Per channel, per operand. */
  readonly ranges: readonly (readonly IntRange[])[];
  readonly rescale: Rescale;
  readonly certificate: Certificate;
}

const text = ({ num, den }: Rational): string => `${num}/${den}`;

export function rescaleCertificate({
  tensor,
  specs,
  ranges,
  rescale,
  certificate,
}: CertifiedRescale): RescaleCertificate {
  const { zeroPoint, rounding, order } = specs[0]!;
  const { n, h, lo, hi, form, select, m } = rescale;
  const { mBits, windowBits, accBits } = certificate;
  return {
    tensor,
    class: rescale.class,
    form,
    ...(select && { select }),
    n,
    lo,
    hi,
    channels: specs.length,
    mBits,
    windowBits,
    accBits,
    m,
    ...(rescale.class === "wide" && { w: rescale.w.map(String) }),
    c: rescale.c.map(String),
    ...(form === "tie" && { cUp: rescale.cUp.map(String), h }),
    ranges: ranges.map((channel) => channel.map(({ min, max }) => [min, max] as const)),
    exact: {
      scales: specs.map((s) => s.scales.map(text)),
      offsets: specs.map((s) => text(s.offset)),
      zeroPoint: text(zeroPoint),
      rounding,
      order,
    },
  };
}
