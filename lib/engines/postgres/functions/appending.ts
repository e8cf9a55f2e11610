import { lockLease, SETTINGS } from './shared.js';

/** How many events a log may hold beyond its limit: they are deleted in blocks. */
const TRIM_BLOCK = 100;
/** The most transactions that one call takes out of the outbox. */
export const DRAIN_COMMITS = 500;

/** Begins the app's log, if there is none. */
export function begin(s: string): string {
  return `create or replace function ${s}.begin_log(p_log text, p_epoch text, p_former text) returns void
  language sql as $fn$
  insert into ${s}.logs (log, name, epoch, former, identity) values (p_log, '', p_epoch, p_former, ${s}.identity())
  on conflict (log, name) do nothing
$fn$`;
}

/**
 * Gives the committed events of the outbox their places, by the numbers that their transactions took. The caller holds
 * the lock of the log's row, so that no other call takes the same. Which transactions are taken is decided by the first
 * statement alone: the events of a transaction that is visible there are all visible later. Nonces are drawn here: those
 * of a transaction that rolls back are never seen.
 */
export function numberOutbox(s: string): string {
  return `create or replace function ${s}.number_outbox(p_log text) returns bigint language plpgsql
  set enable_nestloop = off as $fn$
declare
  l ${s}.logs%rowtype;
  v_rows tid[];
  v_xids xid8[];
  v_numbers bigint[];
  v_count bigint;
  v_nonce text;
begin
  select * into l from ${s}.logs where log = p_log and name = '';
  select array_agg(ctid), array_agg(xid), array_agg(number) into v_rows, v_xids, v_numbers from (
    select ctid, xid, number from ${s}.commits where log = p_log order by number limit ${DRAIN_COMMITS}
  ) c;
  if v_xids is null then
    return 0;
  end if;
  delete from ${s}.commits where ctid = any (v_rows);
  -- "offset 0" has each transaction looked up by its key. As a join, all rows would be compared with all transactions.
  with taken as (
    delete from ${s}.outbox where ctid = any (array(
      select o.ctid from unnest(v_xids) as c (xid) cross join lateral (
        select ctid from ${s}.outbox where log = p_log and xid = c.xid offset 0
      ) o
    ))
    returning xid, id, "time", kind, topic, type, data
  ), numbered as (
    select t.*, row_number() over (order by c.number, t.id) as n,
      coalesce(nullif(left(gen_random_uuid()::text, 8), '00000000'), '00000001') as nonce
    from taken t join unnest(v_xids, v_numbers) as c (xid, number) using (xid)
  ), added as (
    insert into ${s}.events (log_id, sequence, "time", kind, nonce, previous, topic, type, data)
    select l.id, l.sequence + n, "time", kind, nonce, coalesce(lag(nonce) over (order by n), l.nonce), topic, type, data
    from numbered
    returning sequence, nonce
  )
  select count(*), (array_agg(nonce order by sequence desc))[1] into v_count, v_nonce from added;
  if v_count > 0 then
    update ${s}.logs set sequence = l.sequence + v_count, nonce = v_nonce where log = p_log and name = '';
  end if;
  return cardinality(v_xids);
end
$fn$`;
}

/** Deletes what a log holds beyond its limit. The caller holds the lock of its row. */
export function trim(s: string): string {
  return `create or replace function ${s}.trim_log(p_id bigint, p_max bigint) returns void language plpgsql as $fn$
declare
  v_first bigint;
begin
  select sequence - p_max + 1 into v_first from ${s}.logs
  where id = p_id and sequence - first + 1 > p_max + ${TRIM_BLOCK};
  if found then
    delete from ${s}.events where log_id = p_id and sequence < v_first;
    update ${s}.logs set first = v_first where id = p_id;
  end if;
end
$fn$`;
}

/**
 * Appends records, all or none, and before them what the outbox of the app's log holds.
 *
 *     p_id, p_bound   the log, and a sequence that was lower than any of this call's when it was first made
 *     p_key           what the first record of this call holds: nonce, time, topic
 *     p_acknowledged  the newest sequence that was acknowledged to the holder of the lease
 *     p_deadline      milliseconds since 1970 of the server's clock, after which nothing is appended
 *     p_records       JSON: an array of {n: nonce, k: kind, t: topic, y: type, d: data}
 *
 * The result is JSON: ["ok", epoch, first sequence, id]; ["late", time]; ["lease-lost"]; ["expired"] if the log is gone,
 * or lacks what was acknowledged to the lease holder; ["moved", id, sequence] if the log has dropped events past the
 * bound or was set back behind it, so that it is unknown whether the call was carried out.
 */
export function append(s: string): string {
  return `create or replace function ${s}.append(
  p_log text, p_name text, p_id text, p_epoch text, p_former text, p_bound text, p_key text, p_max text, p_token text,
  p_acknowledged text, p_deadline text, p_time text, p_last_nonce text, p_records text
) returns text language plpgsql ${SETTINGS} as $fn$
declare
  l ${s}.logs%rowtype;
  v_bound bigint;
  v_place bigint;
  v_count bigint;
  v_now numeric;
begin
  perform ${s}.require_read_committed();
  perform 1 from ${s}.logs where log = p_log and name = p_name for no key update;
  if not found and p_name = '' then
    perform ${s}.begin_log(p_log, p_epoch, p_former);
    perform 1 from ${s}.logs where log = p_log and name = p_name for no key update;
  end if;
  select * into l from ${s}.logs where log = p_log and name = p_name;
  if not found or (p_name <> '' and (l.id::text <> p_id or l.expires_at <= clock_timestamp())) then
    return '["expired"]';
  end if;

  v_bound := case when l.id::text = p_id then p_bound::bigint else 0 end;
  if l.sequence < v_bound then
    -- The log was set back. What is appended now would stand below the bound, where no later try would find it.
    return json_build_array('moved', l.id::text, l.sequence::text)::text;
  elsif l.sequence > v_bound then
    select sequence into v_place from ${s}.events
    where log_id = l.id and sequence > v_bound and nonce || ' ' || "time" || ' ' || topic = p_key limit 1;
    if found then
      return json_build_array('ok', l.epoch, v_place::text, l.id::text)::text;
    elsif l.first > v_bound + 1 then
      return json_build_array('moved', l.id::text, l.sequence::text)::text;
    end if;
  end if;
  v_now := extract(epoch from clock_timestamp()) * 1000;
  if v_now > p_deadline::numeric then
    return json_build_array('late', floor(v_now)::text)::text;
  end if;

  if p_token <> '' then
    ${lockLease(s)}
    if not found then
      return '["lease-lost"]';
    elsif l.sequence < p_acknowledged::bigint then
      return '["expired"]';
    end if;
  end if;
  if p_name = '' and exists (select from ${s}.commits where log = p_log) then
    -- All of it: what is appended now may tell of what those transactions have done.
    loop
      exit when ${s}.number_outbox(p_log) < ${DRAIN_COMMITS};
    end loop;
    select * into l from ${s}.logs where log = p_log and name = p_name;
  end if;

  insert into ${s}.events (log_id, sequence, "time", kind, nonce, previous, topic, type, data)
  select l.id, l.sequence + o, p_time::bigint, k, n, coalesce(lag(n) over (order by o), l.nonce), t, y, d
  from rows from (json_to_recordset(p_records::json) as (n text, k smallint, t text, y text, d text))
    with ordinality as r (n, k, t, y, d, o);
  get diagnostics v_count = row_count;
  update ${s}.logs set sequence = l.sequence + v_count, nonce = p_last_nonce,
    expires_at = clock_timestamp() + l.ttl_ms * interval '1 millisecond'
  where log = p_log and name = p_name;
  perform ${s}.trim_log(l.id, coalesce(l.max_events, p_max::bigint));
  return json_build_array('ok', l.epoch, (l.sequence + 1)::text, l.id::text)::text;
end
$fn$`;
}

/**
 * Takes committed events out of the outbox into the log. The result is JSON: how many transactions it has taken, and the
 * id of the log; null if the log is still to begin.
 */
export function drain(s: string): string {
  return `create or replace function ${s}.drain(p_log text, p_max text) returns text language plpgsql ${SETTINGS} as $fn$
declare
  v_id bigint;
  v_commits bigint;
begin
  if not exists (select from ${s}.commits where log = p_log) then
    return '["0", ""]';
  end if;
  perform ${s}.require_read_committed();
  select id into v_id from ${s}.logs where log = p_log and name = '' for no key update;
  if not found then
    return null;
  end if;
  v_commits := ${s}.number_outbox(p_log);
  perform ${s}.trim_log(v_id, p_max::bigint);
  return json_build_array(v_commits::text, v_id::text)::text;
end
$fn$`;
}

/**
 * Gives the app's log a new epoch, if it still has the given one, and deletes events past its head. The result is as of
 * look; null if there is no log.
 */
export function replaceEpoch(s: string): string {
  return `create or replace function ${s}.replace_epoch(p_log text, p_old text, p_epoch text, p_former text) returns text
  language plpgsql ${SETTINGS} as $fn$
declare
  l ${s}.logs%rowtype;
begin
  perform ${s}.require_read_committed();
  perform 1 from ${s}.logs where log = p_log and name = '' for no key update;
  select * into l from ${s}.logs where log = p_log and name = '';
  if not found then
    return null;
  end if;
  if l.epoch = p_old then
    delete from ${s}.events where log_id = l.id and sequence > l.sequence;
    update ${s}.logs set epoch = p_epoch, former = p_former, identity = ${s}.identity() where id = l.id returning * into l;
  end if;
  return json_build_array(l.id::text, l.epoch, l.sequence::text, l.nonce, l.former, l.identity, ${s}.identity())::text;
end
$fn$`;
}
