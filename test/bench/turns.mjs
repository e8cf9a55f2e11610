/** Rounds of what is compared, in turn. */

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
