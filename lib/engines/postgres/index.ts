export { postgres } from './postgres.event-log-store.js';
export { postgresOutbox } from './postgres.outbox.js';
export { postgresSchema } from './schema.js';
export type { PostgresLogOptions, PostgresOutboxOptions, PostgresPool } from './options.js';
