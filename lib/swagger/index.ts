export { ApiSse } from './api-sse.decorator.js';
export type { ApiSseOptions } from './api-sse.decorator.js';
export { describeSse } from './describe-sse.js';
export type { OpenApiDocument } from './describe-sse.js';
export type { ApiSseEvent, ApiSseSchema, ApiSseType } from './event-schema.js';
