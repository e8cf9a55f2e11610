export { SseHealthIndicator } from './sse.health-indicator.js';
export type { SseReadinessOptions } from './sse.health-indicator.js';
