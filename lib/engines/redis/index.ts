export { redis } from './redis.event-log-store.js';
export type { RedisLogOptions } from './options.js';
