export { DURATION_FAMILIES, METRIC_FAMILIES } from './families.js';
export type { DurationFamily, MetricFamily } from './families.js';
