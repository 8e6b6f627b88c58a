// SPDX-License-Identifier: GPL-3.0-or-later
// Counts checks. One that fails says why and lets the others of its part run only if they can: a part
// ends at its first failure, because what follows builds on it.

const counts = { passed: 0, failed: 0, skipped: 0 };

export async function check(what, act) {
  try {
    const result = await act();
    counts.passed += 1;
    console.log(`ok      ${what}`);
    return result;
  } catch (cause) {
    counts.failed += 1;
    console.log(`FAILED  ${what}\n        ${String(cause?.message ?? cause).split("\n").slice(0, 12).join("\n        ")}`);
    throw new Error(`ended at: ${what}`, { cause });
  }
}

export function skip(what, why) {
  counts.skipped += 1;
  console.log(`skipped ${what}: ${why}`);
}

/** Takes in what another runner counted. */
export function count(passed, failed) {
  counts.passed += passed;
  counts.failed += failed;
}

/** Runs a part to its first failure. What fails outside a check is a failure too. */
export async function part(name, act) {
  console.log(`\n${name}`);
  const failedBefore = counts.failed;
  try {
    await act();
  } catch (cause) {
    if (counts.failed === failedBefore) {
      counts.failed += 1;
      console.log(`FAILED  ${name}: ${cause?.stack ?? cause}`);
    }
  }
}

/** Prints the counts, alone on the last line; the exit code says whether all is well. */
export function conclude() {
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
  console.log(`\n${counts.passed} passed, ${counts.failed} failed${skipped}`);
  return counts.failed === 0 && counts.passed > 0 ? 0 : 1;
}

export const failures = () => counts.failed;

export function same(actual, expected, what) {
  if (actual !== expected) throw new Error(`${what}: expected ${expected}, got ${actual}`);
}
