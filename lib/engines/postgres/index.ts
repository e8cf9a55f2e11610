export { postgres } from './postgres.event-log-store.js';
export { postgresSchema } from './schema.js';
export type { PostgresLogOptions, PostgresPool } from './options.js';
