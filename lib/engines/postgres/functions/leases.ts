import { lockLease, SETTINGS } from './shared.js';

// What lasts for a time: named logs, leases, claims; and how it is deleted.

const SWEEP_ROWS = 10_000;

/**
 * Opens a named log, or begins a new one for the holder of its lease. The result is JSON: [id, epoch]; ["lease-lost"];
 * or '-' if it is too late.
 */
export function openLog(s: string): string {
  return `create or replace function ${s}.open_log(
  p_log text, p_name text, p_epoch text, p_max text, p_ttl text, p_token text, p_deadline text
) returns text language plpgsql ${SETTINGS} as $fn$
declare
  l ${s}.logs%rowtype;
  v_expires timestamptz := clock_timestamp() + p_ttl::bigint * interval '1 millisecond';
begin
  perform ${s}.require_read_committed();
  if extract(epoch from clock_timestamp()) * 1000 > p_deadline::numeric then
    return '-';
  end if;
  if p_token <> '' then
    ${lockLease(s)}
    if not found then
      return '["lease-lost"]';
    end if;
  end if;
  insert into ${s}.logs as o (log, name, epoch, max_events, ttl_ms, expires_at)
  values (p_log, p_name, p_epoch, p_max::bigint, p_ttl::bigint, v_expires)
  on conflict (log, name) do update set max_events = excluded.max_events, ttl_ms = excluded.ttl_ms,
    expires_at = excluded.expires_at
  where p_token = '' and o.expires_at > clock_timestamp()
  returning * into l;
  if not found then
    -- A log under another id: the events of the one before are swept.
    update ${s}.logs set id = nextval('${s}.log_ids'), epoch = p_epoch, sequence = 0, nonce = '00000000', first = 1,
      max_events = p_max::bigint, ttl_ms = p_ttl::bigint, expires_at = v_expires
    where log = p_log and name = p_name returning * into l;
  end if;
  return json_build_array(l.id::text, l.epoch)::text;
end
$fn$`;
}

/**
 * Takes a lease. Its token is the time in milliseconds or one more than the last token, whichever is higher. So tokens
 * rise even if the server has lost the last ones, as far as clocks agree. The result is the token; empty if another
 * holds it; '-' if it is too late.
 */
export function takeLease(s: string): string {
  return `create or replace function ${s}.take_lease(p_log text, p_name text, p_ttl text, p_deadline text) returns text
  language plpgsql ${SETTINGS} as $fn$
declare
  v_now numeric := floor(extract(epoch from clock_timestamp()) * 1000);
  v_token bigint;
begin
  perform ${s}.require_read_committed();
  if v_now > p_deadline::numeric then
    return '-';
  end if;
  insert into ${s}.leases as o (log, name, token, expires_at)
  values (p_log, p_name, v_now::bigint, clock_timestamp() + p_ttl::numeric * interval '1 millisecond')
  on conflict (log, name) do update set token = greatest(o.token + 1, excluded.token), expires_at = excluded.expires_at
  where o.expires_at <= clock_timestamp()
  returning token into v_token;
  return coalesce(v_token::text, '');
end
$fn$`;
}

/** Renews a lease, or gives it back if its ttl is 0. The result is '1', '0' if it is lost, '-' if it is too late. */
export function keepLease(s: string): string {
  return `create or replace function ${s}.keep_lease(p_log text, p_name text, p_token text, p_ttl text, p_deadline text)
  returns text language plpgsql ${SETTINGS} as $fn$
begin
  perform ${s}.require_read_committed();
  if p_deadline <> '' and extract(epoch from clock_timestamp()) * 1000 > p_deadline::numeric then
    return '-';
  end if;
  update ${s}.leases
  set expires_at = case when p_ttl = '0' then '-infinity'
    else clock_timestamp() + p_ttl::numeric * interval '1 millisecond' end
  where log = p_log and name = p_name and token = p_token::bigint and expires_at > clock_timestamp();
  return case when found then '1' else '0' end;
end
$fn$`;
}

/** Takes a name for a time, if it is free. The result is '1', '0' if it is taken, '-' if it is too late. */
export function claim(s: string): string {
  return `create or replace function ${s}.claim(p_log text, p_name text, p_ttl text, p_deadline text) returns text
  language plpgsql ${SETTINGS} as $fn$
begin
  perform ${s}.require_read_committed();
  if extract(epoch from clock_timestamp()) * 1000 > p_deadline::numeric then
    return '-';
  end if;
  insert into ${s}.claims as o (log, name, expires_at)
  values (p_log, p_name, clock_timestamp() + p_ttl::numeric * interval '1 millisecond')
  on conflict (log, name) do update set expires_at = excluded.expires_at where o.expires_at <= clock_timestamp();
  return case when found then '1' else '0' end;
end
$fn$`;
}

/**
 * Deletes what is over: named logs, leases, claims, events of logs that are gone, events of the app's log that are too
 * old. One process at a time, and a part at a time.
 */
export function sweep(s: string): string {
  return `create or replace function ${s}.sweep(p_log text, p_max_age text) returns void language plpgsql ${SETTINGS} as $fn$
declare
  v_id bigint;
  v_first bigint;
  v_oldest bigint;
begin
  if not pg_try_advisory_xact_lock(hashtext('nestjs-event-stream sweep'), hashtext('${s}')) then
    return;
  end if;
  perform ${s}.require_read_committed();
  delete from ${s}.logs where name <> '' and expires_at <= clock_timestamp();
  delete from ${s}.claims where expires_at <= clock_timestamp();
  -- Tokens of a name rise by the clock: a lease that ended long ago is not needed for them.
  delete from ${s}.leases where expires_at <= clock_timestamp() - interval '1 day';
  if p_max_age <> '' then
    v_oldest := floor(extract(epoch from clock_timestamp()) * 1000) - p_max_age::bigint;
    select id into v_id from ${s}.logs where log = p_log and name = '' for no key update;
    select max(sequence) + 1 into v_first from (
      select sequence, bool_and("time" < v_oldest) over (order by sequence) as is_old from (
        select * from ${s}.events where log_id = v_id order by sequence limit ${SWEEP_ROWS}
      ) e
    ) o where is_old;
    if v_first is not null then
      delete from ${s}.events where log_id = v_id and sequence < v_first;
      update ${s}.logs set first = greatest(first, v_first) where id = v_id;
    end if;
  end if;
  for v_id in
    with recursive ids (id) as (
      (select log_id from ${s}.events order by log_id limit 1)
      union all
      select (select e.log_id from ${s}.events e where e.log_id > ids.id order by e.log_id limit 1) from ids
      where ids.id is not null
    )
    select ids.id from ids where ids.id is not null and not exists (select from ${s}.logs l where l.id = ids.id)
  loop
    delete from ${s}.events where log_id = v_id and sequence in (
      select sequence from ${s}.events where log_id = v_id order by sequence limit ${SWEEP_ROWS}
    );
  end loop;
end
$fn$`;
}
