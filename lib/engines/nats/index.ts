export { nats } from './nats.event-log-store.js';
export type { NatsConnectionLike, NatsLogOptions } from './options.js';
