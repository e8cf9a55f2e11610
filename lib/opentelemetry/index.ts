export { StreamsInHttp } from './streams-in-http.js';
export { observeSseMetrics } from './observe.js';
export type { SseOpenTelemetryOptions } from './observe.js';
export { SseOpenTelemetryModule } from './opentelemetry.module.js';
