export { refuseWithinSseRoute } from './serving.js';
export { SseRoutes } from './sse-routes.js';
