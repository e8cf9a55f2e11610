/** Runs of what is compared, and their rounds, in turn. */

/**
 * @param {object} options
 * @param {(run: number) => Promise<Map<string, T>>} options.measure - one run: what it measures of each
 * @returns {Promise<Map<string, T[]>>} the runs of each
 * @template T
 */
export async function takeRuns({ runs, progress, measure }) {
  const all = new Map();
  for (let run = 0; run < runs; run += 1) {
    progress(`run ${run + 1} of ${runs}`);
    const measured = await measure(run);
    measured.forEach((list, id) => all.set(id, [...(all.get(id) ?? []), list]));
  }
  return all;
}

/**
 * @param {string[]} ids
 * @param {object} options
 * @param {(id: string) => Promise<T>} options.measure - one round of one of them
 * @returns {Promise<Map<string, T[]>>} the rounds of each
 * @template T
 */
export async function takeTurns(ids, { rounds, run, measure }) {
  const results = new Map(ids.map((id) => [id, []]));
  for (let round = 0; round < rounds; round += 1) {
    // What is left of a neighbour's load hits the first ones in one round, the last ones in the other.
    const order = (round + run) % 2 === 0 ? ids : ids.toReversed();
    for (const id of order) {
      results.get(id).push(await measure(id));
    }
  }
  return results;
}
