export type {
  CloseReason,
  SseConnections,
  StreamEnd,
  StreamItems,
  StreamSource,
} from './connection/index.js';
export { SseConnection } from './connection/index.js';
export { Connection } from './decorators/connection.decorator.js';
export { LastEventId } from './decorators/last-event-id.decorator.js';
export { SseOptions } from './decorators/sse-options.decorator.js';
export { closeOn } from './operators/index.js';
export { SseError } from './sse.errors.js';
export type { SseErrorCode } from './sse.errors.js';
export { SSE_OPTIONS } from './sse.module-definition.js';
export type { SseOptionsFactory } from './sse.module-definition.js';
export { SseModule } from './sse.module.js';
export type { SseConnectOptions, SseModuleOptions, SseRouteOptions } from './sse.options.js';
export { SseService } from './sse.service.js';
export type { SseEvent, SseEventInput } from './wire/index.js';
