/** Ratios of costs, pair by pair, and whether they reach what was aimed at. */
import { interval, median, table } from '../statistics.mjs';

/**
 * @typedef {object} Target
 * @property {string} of
 * @property {string} to what it is compared with
 * @property {number} [atMost] absent where the ratio is only to be seen
 */

/**
 * Judges a target by the rounds that both took part in.
 *
 * @param {Map<string, (number[] | undefined)[]>} costs - of each contestant: for each run its rounds
 * @param {Target} target
 */
export function judge(costs, { of, to, atMost }) {
  const theirs = costs.get(to) ?? [];
  const runs = (costs.get(of) ?? [])
    .map((rounds, run) => rounds?.map((cost, n) => cost / theirs[run]?.[n]))
    .filter((ratios) => ratios?.every(Number.isFinite));
  if (runs.length === 0) {
    return undefined;
  }
  const [low, high] = interval(runs);
  const verdict = verdictOf(low, high, atMost);
  return { of, to, atMost, ratio: median(runs.flat()), low, high, verdict, runs: runs.length };
}

function verdictOf(low, high, atMost) {
  if (atMost === undefined) {
    return 'none';
  }
  if (high <= atMost) {
    return 'met';
  }
  return low > atMost ? 'missed' : 'open';
}

/**
 * Whether more runs could change what is said: the interval holds the bound, and is not yet a quarter of the margin
 * that the target leaves.
 */
export function isUndecided({ low, high, atMost, verdict }) {
  const margin = Math.max(Math.abs(1 - atMost), 0.05);
  return verdict === 'open' && high - low > margin / 4;
}

export function verdictTable(judged, name) {
  const rows = judged.map(({ of, to, atMost, ratio, low, high, verdict, runs }) => [
    `${name(of)} : ${name(to)}`,
    atMost === undefined ? '' : `≤ ${atMost.toFixed(2)}`,
    ratio.toFixed(3),
    `${low.toFixed(3)} to ${high.toFixed(3)}`,
    `${runs}`,
    SAID[verdict],
  ]);
  return table(['ratio', 'target', 'median', '95% interval', 'runs', ''], rows);
}

const SAID = { none: '', met: 'met', missed: '**missed**', open: '**open**: the interval holds the target' };
