export { StreamsInHttp } from './streams-in-http.js';
export { observeSseMetrics } from './observe.js';
export type { SseOpenTelemetryOptions } from './observe.js';
export { SseOpenTelemetryModule } from './opentelemetry.module.js';
export type { SseOpenTelemetryModuleOptions } from './opentelemetry.module.js';
export { traceSse } from './trace.js';
export type { SseTraceOptions } from './trace.js';
