/** The settings of a function that the log calls, and of those that this one calls: see `functionsOf`. */
export const SETTINGS =
  'set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan ' +
  "set lock_timeout = '1s'";
/** The error of a call in a transaction with another isolation level. */
export const WRONG_ISOLATION = 'SSE01';

export function requireReadCommitted(s: string): string {
  return `create or replace function ${s}.require_read_committed() returns void language plpgsql as $fn$
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'the isolation level is %, and the log needs read committed', current_setting('transaction_isolation')
      using errcode = '${WRONG_ISOLATION}';
  end if;
end
$fn$`;
}

/**
 * Names the line of data that the server has: the database cluster and its timeline, which a promotion and a restored
 * backup change. Empty if the user may not ask. The control file still has the former timeline right after a promotion;
 * the name of the WAL file has the new one.
 */
export function identity(s: string): string {
  return `create or replace function ${s}.identity() returns text language plpgsql as $fn$
begin
  return (select system_identifier from pg_control_system()) || ':' || left(pg_walfile_name(pg_current_wal_lsn()), 8);
exception when others then
  return '';
end
$fn$`;
}

/** Locks the lease that a caller names until the transaction ends. `found` then says whether the caller has it. */
export function lockLease(s: string): string {
  return `perform 1 from ${s}.leases
    where log = p_log and name = p_name and token = p_token::bigint and expires_at > clock_timestamp() for share;`;
}
