export { importsOf } from './nest-metadata.js';
export { SseRoutes } from './sse-routes.js';
