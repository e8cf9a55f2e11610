import { functionsOf } from './functions/index.js';
import { schemaName } from './options.js';

/** The version of the tables and functions. A later version of this package may add to them. */
export const SCHEMA_VERSION = 1;

/**
 * Returns the statements that make the schema of the log: tables, sequences, functions, one trigger. They can be run
 * again, and destroy nothing. For apps that migrate their database by hand; otherwise the log makes it at start.
 *
 * @param schema - the `schema` of `postgres()`; `sse` by default
 * @throws SseError `options-invalid`
 */
export function postgresSchema(schema?: string): string {
  return `${statementsOf(schemaName(schema)).join(';\n\n')};\n`;
}

/**
 * Returns one statement that makes the schema, unless another process has made it meanwhile. All of it is one
 * transaction.
 */
export function installation(schema: string): string {
  const body = statementsOf(schema)
    .filter((statement) => !statement.startsWith('create schema'))
    .map((statement) => `  ${statement};`)
    .join('\n');
  // Without the right to make schemas, "if not exists" fails also for one that exists.
  return `do $install$
begin
  perform pg_advisory_xact_lock(hashtext('nestjs-event-stream'), hashtext('${schema}'));
  if to_regnamespace('"${schema}"') is null then
    create schema "${schema}";
  end if;
${body}
end
$install$`;
}

function statementsOf(schema: string): string[] {
  const s = `"${schema}"`;
  return [
    `create schema if not exists ${s}`,
    ...tablesOf(s),
    ...functionsOf(s),
    ...triggerOf(s),
    versionOf(s),
  ];
}

/**
 * - `logs`: one row a log; `name` is empty for the app's log. Its row lock numbers the events.
 * - `events`: the events of all logs. `kind` is 0 for text, 1 for JSON, 2 for text that is kept as a JSON string: it
 *   holds a NUL, which PostgreSQL cannot store.
 * - `outbox`: events of transactions that have no place in a log yet. `commits`: the order of these transactions.
 * - `leases`, `claims`: who produces a run; names that are taken for a time.
 */
function tablesOf(s: string): string[] {
  return [
    `create sequence if not exists ${s}.log_ids`,
    `create table if not exists ${s}.logs (
  log text not null,
  name text not null,
  id bigint not null default nextval('${s}.log_ids'),
  epoch text not null,
  sequence bigint not null default 0,
  nonce text not null default '00000000',
  first bigint not null default 1,
  former text not null default '',
  identity text not null default '',
  max_events bigint,
  ttl_ms bigint,
  expires_at timestamptz,
  primary key (log, name)
) with (fillfactor = 50)`,
    `create unique index if not exists logs_id on ${s}.logs (id)`,
    `create table if not exists ${s}.events (
  log_id bigint not null,
  sequence bigint not null,
  "time" bigint not null,
  kind smallint not null,
  nonce text not null,
  previous text not null,
  topic text not null,
  type text,
  data text not null,
  primary key (log_id, sequence)
) with (autovacuum_vacuum_scale_factor = 0.05)`,
    `create table if not exists ${s}.outbox (
  log text not null,
  xid xid8 not null default pg_current_xact_id(),
  id bigint generated always as identity,
  "time" bigint not null,
  kind smallint not null,
  topic text not null,
  type text,
  data text not null,
  primary key (log, xid, id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)`,
    `create sequence if not exists ${s}.commit_numbers`,
    `create table if not exists ${s}.commits (
  log text not null,
  xid xid8 not null,
  number bigint not null,
  primary key (log, xid)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)`,
    `create table if not exists ${s}.leases (
  log text not null,
  name text not null,
  token bigint not null,
  expires_at timestamptz not null,
  primary key (log, name)
)`,
    `create table if not exists ${s}.claims (
  log text not null,
  name text not null,
  expires_at timestamptz not null,
  primary key (log, name)
)`,
  ];
}

/** The trigger by which a transaction takes its number as it commits: once, however many events it has. */
function triggerOf(s: string): string[] {
  return [
    `create or replace function ${s}.take_commit_number() returns trigger language plpgsql
  security definer set search_path = pg_catalog, pg_temp as $fn$
begin
  insert into ${s}.commits (log, xid, number)
  values (new.log, new.xid, nextval('${s}.commit_numbers'))
  on conflict (log, xid) do nothing;
  return null;
end
$fn$`,
    // PostgreSQL has no "create or replace" for constraint triggers.
    `drop trigger if exists take_commit_number on ${s}.outbox`,
    `create constraint trigger take_commit_number after insert on ${s}.outbox
  deferrable initially deferred for each row execute function ${s}.take_commit_number()`,
  ];
}

function versionOf(s: string): string {
  return `create or replace function ${s}.version() returns int language sql immutable as $fn$ select ${SCHEMA_VERSION} $fn$`;
}
