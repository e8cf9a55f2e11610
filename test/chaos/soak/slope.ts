/** A measured value, and when it was taken. */
export interface Point {
  readonly atMs: number;
  readonly value: number;
}

/** How much a value has grown from the first point to the last, by a straight line, with its 95% interval. */
export interface Growth {
  readonly low: number;
  readonly most: number;
  readonly high: number;
  /** From the first point to the last. */
  readonly overMs: number;
}

// Neighbouring samples resemble one another: a line through all of them would have an interval that is too narrow.
const BLOCKS = 12;
const LEAST_BLOCKS = 4;

/**
 * Fits a straight line through the means of blocks of points, by least squares.
 *
 * @param points - in the order of their times; at least 4
 */
export function growthOf(points: readonly Point[]): Growth {
  if (points.length < LEAST_BLOCKS) {
    throw new Error(`A line with an interval takes ${LEAST_BLOCKS} points or more, got ${points.length}.`);
  }
  const blocks = blocksOf(points);
  const overMs = points.at(-1)!.atMs - points[0]!.atMs;
  const { slope, error } = line(blocks);
  const reach = student975(blocks.length - 2) * error;
  return { low: (slope - reach) * overMs, most: slope * overMs, high: (slope + reach) * overMs, overMs };
}

/** Whether a value has certainly grown by more than what is tolerated. */
export function grows({ low }: Growth, tolerance: number): boolean {
  return low > tolerance;
}

function blocksOf(points: readonly Point[]): Point[] {
  const count = Math.min(BLOCKS, points.length);
  return Array.from({ length: count }, (_, n) => {
    const block = points.slice(
      Math.round((n * points.length) / count),
      Math.round(((n + 1) * points.length) / count),
    );
    return { atMs: mean(block.map(({ atMs }) => atMs)), value: mean(block.map(({ value }) => value)) };
  });
}

/** The slope per millisecond, and its standard error. */
function line(points: readonly Point[]): { slope: number; error: number } {
  const atMs = mean(points.map((point) => point.atMs));
  const value = mean(points.map((point) => point.value));
  const spread = sum(points.map((point) => (point.atMs - atMs) ** 2));
  if (spread === 0) {
    throw new Error('All points have the same time: no line goes through them.');
  }
  const slope = sum(points.map((point) => (point.atMs - atMs) * (point.value - value))) / spread;
  const residuals = points.map((point) => point.value - value - slope * (point.atMs - atMs));
  const error = Math.sqrt(sum(residuals.map((residual) => residual ** 2)) / (points.length - 2) / spread);
  return { slope, error };
}

/** The 97.5% quantile of Student's distribution, by Cornish and Fisher's expansion: within 3% from 2 degrees on. */
function student975(degrees: number): number {
  const z = 1.959964;
  return (
    z +
    (z ** 3 + z) / (4 * degrees) +
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * degrees ** 2) +
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * degrees ** 3)
  );
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}
