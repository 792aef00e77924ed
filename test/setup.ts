import fc from "fast-check";

/** Runs repeat unless asked otherwise: QC_FUZZ_SEED is a number, or `random`. A failure prints its seed. */
const asked = process.env.QC_FUZZ_SEED ?? "1";
if (asked !== "random") fc.configureGlobal({ seed: Number(asked) });
