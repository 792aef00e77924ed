/** QC40xx: text (.qir), verifier and pass manager. */
import { type Loc, quote } from "./diagnostics.ts";
import { type Detail, diagnostic } from "./messages.ts";

export const textToken = (text: string, loc: Loc) =>
  diagnostic("error", "QC4001", `no token starts with ${quote(text, 20)}`, { loc });
export const textSyntax = (found: string | undefined, expected: string, loc: Loc) =>
  diagnostic("error", "QC4002", `syntax error at ${found === undefined ? "the end" : quote(found, 40)}`, {
    loc,
    notes: [{ label: "parser", text: expected }],
  });
export const textUnknownValue = (name: string, loc: Loc) =>
  diagnostic("error", "QC4003", `value ${quote(name)} is not defined before this point`, { loc });
export const textDuplicate = (name: string, loc: Loc) =>
  diagnostic("error", "QC4004", `${quote(name)} is defined twice`, { loc });
export const textType = (reason: string, loc: Loc) =>
  diagnostic("error", "QC4005", `malformed type: ${reason}`, { loc });
export const textAttr = (reason: string, loc: Loc) =>
  diagnostic("error", "QC4006", `malformed attribute: ${reason}`, { loc });
export const textData = (name: string, reason: string, loc: Loc) =>
  diagnostic("error", "QC4007", `data entry ${quote(name)} ${reason}`, { loc });
export const textCount = (what: string, needs: number, has: number, loc: Loc) =>
  diagnostic("error", "QC4008", `${what}: ${needs} needed, ${has} given`, { loc });
export const textReturnType = (name: string, loc: Loc) =>
  diagnostic("error", "QC4009", `the declared result type is not the type of ${quote(name)}`, { loc });
export const textDepth = (limit: number, loc: Loc) =>
  diagnostic("error", "QC4010", `brackets are nested more than ${limit} deep`, { loc });

// Verifier

const error = (code: string, message: string, loc: Loc | undefined, more: Detail = {}) =>
  diagnostic("error", code, message, loc === undefined ? more : { ...more, loc });

export const unknownOp = (name: string, loc?: Loc) => error("QC4020", `no op is called ${quote(name)}`, loc);
export const operandCount = (op: string, needs: string, has: number, loc?: Loc) =>
  error("QC4021", `${op} takes ${needs}, not ${has}`, loc);
export const missingAttr = (op: string, name: string, loc?: Loc) =>
  error("QC4022", `${op} lacks attribute ${quote(name)}`, loc);
export const unknownAttr = (op: string, name: string, known: readonly string[], loc?: Loc) =>
  error("QC4023", `${op} has no attribute ${quote(name)}`, loc, {
    notes: known.length > 0 ? [{ label: "it has", text: known.join(", ") }] : [],
  });
export const attrKind = (op: string, name: string, needs: string, has: string, loc?: Loc) =>
  error("QC4024", `${op}: attribute ${quote(name)} must be ${needs}, not ${has}`, loc);
export const badOperands = (op: string, reason: string, loc?: Loc) =>
  error("QC4025", `${op}: ${reason}`, loc);
export const resultType = (op: string, declared: string, inferred: string, loc?: Loc) =>
  error("QC4026", `${op}: the result's declared type is not the inferred one`, loc, {
    notes: [
      { label: "declared", text: declared },
      { label: "inferred", text: inferred },
    ],
  });
export const notDominated = (op: string, name: string, loc?: Loc) =>
  error("QC4027", `${op} uses ${quote(name)} before it is defined`, loc);
export const definedTwice = (op: string, name: string, loc?: Loc) =>
  error("QC4028", `${op} defines ${quote(name)}, which is defined already`, loc);
export const badCall = (callee: string, reason: string, loc?: Loc) =>
  error("QC4029", `call of ${quote(callee)}: ${reason}`, loc);
export const malformedType = (what: string, reason: string, loc?: Loc) =>
  error("QC4030", `${what} has a malformed type: ${reason}`, loc);
export const duplicateFunc = (name: string) =>
  error("QC4031", `two functions are called ${quote(name)}`, undefined);
export const duplicateResult = (func: string, name: string, loc?: Loc) =>
  error("QC4032", `two results of ${quote(func)} are called ${quote(name)}`, loc);
export const noMain = () => error("QC4033", "the module has no function", undefined);
export const undefinedResult = (func: string, name: string, loc?: Loc) =>
  error("QC4034", `result ${quote(name)} of ${quote(func)} is not defined in it`, loc);

// Pass manager

export const illegalOp = (legality: string, when: string, op: string, reason: string, loc?: Loc) =>
  error("QC4040", `${op} is not legal ${when} (${legality}): ${reason}`, loc);
export const unknownPass = (name: string, known: readonly string[]) =>
  error("QC4041", `no pass is called ${quote(name)}`, undefined, {
    notes: known.length > 0 ? [{ label: "passes", text: known.join(", ") }] : [],
  });
export const badPassText = (text: string, options: readonly string[] = []) =>
  error("QC4042", `malformed pass list at ${quote(text, 40)}`, undefined, {
    notes: options.length > 0 ? [{ label: "options", text: options.join(", ") }] : [],
    fixes: ['write passes as name or name{"option": value}, separated by commas'],
  });
