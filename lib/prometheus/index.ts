export { collectSseMetrics } from './collect.js';
export type { SsePrometheusOptions } from './collect.js';
export { SsePrometheusModule } from './prometheus.module.js';
