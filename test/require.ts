/** What a test needs beyond Node and the npm packages, and how much of the suite to run. */

/** `QC_REQUIRE_ALL=1`, as CI sets it: whatever is absent is a failure, nothing is skipped. */
export const requireAll: boolean = process.env.QC_REQUIRE_ALL === "1";

/** Slow suites run (`npm run test:full`, and CI). */
export const full: boolean = requireAll || process.env.QC_FULL === "1";

/**
 * Whether tests that need `name` can run, for `describe.skipIf(!…)`. Prints the reason when they cannot; throws instead
 * under `QC_REQUIRE_ALL=1`.
 */
export function requireOrSkip(name: string, available: boolean, reason: string): boolean {
  if (available) return true;
  if (requireAll) throw new Error(`QC_REQUIRE_ALL is set, but ${name} is missing: ${reason}`);
  console.warn(`skipped: ${name}: ${reason}`);
  return false;
}

/** The same for suites that are only slow: prints that they wait for the full test. */
export function fullOrSkip(name: string): boolean {
  if (!full) console.warn(`skipped: ${name}: slow, runs in npm run test:full`);
  return full;
}
