/**
 * Framing check that runs before the decoder: one linear pass over tags and lengths, skipping payloads. It gives a
 * malformed file a position, and it bounds what the decoder may allocate, since an object costs far more memory than
 * the two bytes that can ask for it.
 */
import { MESSAGES } from "./wire.gen.js";

export interface WireLimits {
  /** Submessages in the whole file. */
  readonly messages: number;
  /** Elements of repeated numeric fields, without tensor payloads (which stay undecoded). */
  readonly scalars: number;
  /** Nesting of messages; a subgraph costs three. */
  readonly depth: number;
}

export const WIRE_LIMITS: WireLimits = { messages: 1 << 22, scalars: 1 << 24, depth: 100 };

export type WireProblem = {
  /** Byte offset in the file. */
  readonly offset: number;
  /** Field names from the outside in, such as `graph.node.attribute`. */
  readonly path: string;
} & (
  | { readonly kind: "malformed"; readonly reason: string }
  | { readonly kind: "limit"; readonly what: string }
);

export type WireReport =
  | {
      readonly ok: true;
      /** Whether some tensor's typed field is not packed, so that the decoder must keep unknown fields. */
      readonly unpacked: boolean;
    }
  | { readonly ok: false; readonly problem: WireProblem };

interface Field {
  readonly name: string;
  readonly wireTypes: readonly number[];
  /** Scalar type of a repeated number, which may be packed. */
  readonly packable: "varint" | "fixed32" | undefined;
  readonly message: string | undefined;
  /** Wire type of an unpacked element of a tensor's typed field. */
  readonly unpacked: number | undefined;
}

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;
const WIRE_NAMES = ["a varint", "64 bits", "bytes", "a group", "a group's end", "32 bits"];

/** Typed fields of TensorProto, which the schema declares as bytes. */
export const UNPACKED_WIRE_TYPES: ReadonlyMap<string, number> = new Map([
  ["float_data", FIXED32],
  ["int32_data", VARINT],
  ["int64_data", VARINT],
  ["uint64_data", VARINT],
  ["double_data", FIXED64],
]);

const FIELDS: ReadonlyMap<string, ReadonlyMap<number, Field>> = new Map(
  Object.entries(MESSAGES).map(([message, fields]) => [
    message,
    new Map(
      fields.map(([number, name, type, repeated]): [number, Field] => {
        const nested = type.startsWith(":");
        const own =
          nested || type === "string" || type === "bytes" ? BYTES : type === "float" ? FIXED32 : VARINT;
        const unpacked = message === "TensorProto" ? UNPACKED_WIRE_TYPES.get(name) : undefined;
        const packable = repeated && own !== BYTES;
        const extra = packable ? [BYTES] : unpacked === undefined ? [] : [unpacked];
        return [
          number,
          {
            name,
            wireTypes: [own, ...extra],
            packable: packable ? (own === VARINT ? "varint" : "fixed32") : undefined,
            message: nested ? type.slice(1) : undefined,
            unpacked,
          },
        ];
      }),
    ),
  ]),
);

/** `root` is the type of the outermost message. */
export function checkWire(
  bytes: Uint8Array,
  limits: WireLimits = WIRE_LIMITS,
  root: "ModelProto" | "TensorProto" = "ModelProto",
): WireReport {
  let messages = 0;
  let scalars = 0;
  let unpacked = false;
  let at = 0;

  const malformed = (offset: number, reason: string): WireProblem => ({
    kind: "malformed",
    offset,
    path: "",
    reason,
  });
  const limit = (what: string): WireProblem => ({ kind: "limit", offset: at, path: "", what });
  const inside = (problem: WireProblem, name: string): WireProblem => ({
    ...problem,
    path: problem.path === "" ? name : `${name}.${problem.path}`,
  });

  /** Value of the varint at `at`, which it moves past; −1 when it does not end before `end` or is too long. */
  const varint = (end: number): number => {
    let value = 0;
    for (let i = 0, scale = 1; i < 10 && at < end; i++, scale *= 128) {
      const byte = bytes[at++]!;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    return -1;
  };

  const packed = (field: Field, end: number): WireProblem | undefined => {
    const start = at;
    if (field.packable === "fixed32") {
      if ((end - at) % 4 !== 0) return malformed(at, `${end - at} bytes are not a whole number of floats`);
      scalars += (end - at) / 4;
      at = end;
      return undefined;
    }
    while (at < end) {
      if (varint(end) < 0) return malformed(start, "a packed integer does not end");
      scalars++;
    }
    return undefined;
  };

  const walk = (type: string, end: number, depth: number): WireProblem | undefined => {
    if (++messages > limits.messages) return limit(`more than ${limits.messages} submessages`);
    if (depth > limits.depth) return limit(`messages nested more than ${limits.depth} deep`);
    const fields = FIELDS.get(type)!;
    while (at < end) {
      const start = at;
      const tag = varint(end);
      if (tag < 0 || tag >= 2 ** 32) return malformed(start, "the field tag does not end");
      const number = Math.floor(tag / 8);
      const wireType = tag % 8;
      if (number === 0) return malformed(start, "field number 0");
      const field = fields.get(number);
      const name = field?.name ?? `field ${number}`;
      if (field !== undefined && !field.wireTypes.includes(wireType))
        return inside(
          malformed(
            start,
            `expected ${WIRE_NAMES[field.wireTypes[0]!]}, found ${WIRE_NAMES[wireType] ?? `wire type ${wireType}`}`,
          ),
          name,
        );
      let size = 0;
      switch (wireType) {
        case VARINT:
          if (varint(end) < 0) return inside(malformed(start, "the integer does not end"), name);
          break;
        case FIXED64:
          size = 8;
          break;
        case FIXED32:
          size = 4;
          break;
        case BYTES:
          size = varint(end);
          if (size < 0) return inside(malformed(start, "the length does not end"), name);
          break;
        default:
          return inside(malformed(start, `wire type ${wireType} does not occur in ONNX`), name);
      }
      if (size > end - at)
        return inside(malformed(start, `${size} bytes are announced, ${end - at} are left`), name);
      const stop = at + size;
      if (field !== undefined) {
        if (wireType === field.unpacked) {
          unpacked = true;
          scalars++;
        } else if (field.packable !== undefined && wireType !== BYTES) scalars++;
        const problem =
          wireType !== BYTES
            ? undefined
            : field.message !== undefined
              ? walk(field.message, stop, depth + 1)
              : field.packable !== undefined
                ? packed(field, stop)
                : undefined;
        if (problem !== undefined) return inside(problem, name);
        if (wireType === BYTES && field.message === undefined && field.packable === undefined) messages++;
        if (scalars > limits.scalars) return limit(`more than ${limits.scalars} numbers outside of tensors`);
      }
      at = stop;
    }
    return undefined;
  };

  const problem = walk(root, bytes.byteLength, 0);
  return problem === undefined ? { ok: true, unpacked } : { ok: false, problem };
}
