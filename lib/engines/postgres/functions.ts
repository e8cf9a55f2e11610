/*
 * The functions of the log. All arguments and results are text, so that any client library passes them as they are.
 *
 * Each step that must see what others have committed is a statement of its own: in READ COMMITTED each statement has its
 * own snapshot. The lock of the log's row comes first. The planner would read small tables from end to end, and compile
 * plans that it takes for expensive: `enable_seqscan` and `jit` are off within the functions.
 */

const SETTINGS = "set enable_seqscan = off set jit = off set lock_timeout = '1s'";
/** How many events a log may hold beyond its limit: they are deleted in blocks. */
const TRIM_BLOCK = 100;
/** The most transactions that one call takes out of the outbox. */
export const DRAIN_COMMITS = 500;
/** The error of a call in a transaction with another isolation level. */
export const WRONG_ISOLATION = 'SSE01';
const SWEEP_ROWS = 10_000;

/** @param s - the schema, quoted */
export function functionsOf(s: string): string[] {
  return [
    requireReadCommitted(s),
    identity(s),
    begin(s),
    numberOutbox(s),
    trim(s),
    append(s),
    drain(s),
    look(s),
    replaceEpoch(s),
    page(s),
    tail(s),
    openLog(s),
    takeLease(s),
    keepLease(s),
    claim(s),
    sweep(s),
  ];
}

function requireReadCommitted(s: string): string {
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
function identity(s: string): string {
  return `create or replace function ${s}.identity() returns text language plpgsql as $fn$
begin
  return (select system_identifier from pg_control_system()) || ':' || left(pg_walfile_name(pg_current_wal_lsn()), 8);
exception when others then
  return '';
end
$fn$`;
}

/** Begins the app's log, if there is none. */
function begin(s: string): string {
  return `create or replace function ${s}.begin_log(p_log text, p_epoch text, p_former text) returns void
  language sql as $fn$
  insert into ${s}.logs (log, name, epoch, former, identity) values (p_log, '', p_epoch, p_former, ${s}.identity())
  on conflict (log, name) do nothing
$fn$`;
}

/**
 * Gives the committed events of the outbox their places, by the numbers that their transactions took. The caller holds
 * the lock of the log's row. Nonces are drawn here: those of a transaction that rolls back are never seen.
 */
function numberOutbox(s: string): string {
  return `create or replace function ${s}.number_outbox(p_log text) returns bigint language plpgsql ${SETTINGS} as $fn$
declare
  l ${s}.logs%rowtype;
  v_count bigint;
  v_commits bigint;
  v_nonce text;
begin
  select * into l from ${s}.logs where log = p_log and name = '';
  with picked as (
    select xid, number from ${s}.commits where log = p_log order by number limit ${DRAIN_COMMITS}
  ), taken as (
    delete from ${s}.outbox o using picked p where o.log = p_log and o.xid = p.xid
    returning p.number, o.id, o."time", o.kind, o.topic, o.type, o.data
  ), gone as (
    delete from ${s}.commits c using picked p where c.log = p_log and c.xid = p.xid
  ), numbered as (
    select t.*, row_number() over (order by number, id) as n,
      coalesce(nullif(left(gen_random_uuid()::text, 8), '00000000'), '00000001') as nonce
    from taken t
  ), added as (
    insert into ${s}.events (log_id, sequence, "time", kind, nonce, previous, topic, type, data)
    select l.id, l.sequence + n, "time", kind, nonce, coalesce(lag(nonce) over (order by n), l.nonce), topic, type, data
    from numbered
    returning sequence, nonce
  )
  select (select count(*) from picked), count(*), (array_agg(nonce order by sequence desc))[1]
  into v_commits, v_count, v_nonce from added;
  if v_count > 0 then
    update ${s}.logs set sequence = l.sequence + v_count, nonce = v_nonce where log = p_log and name = '';
  end if;
  return v_commits;
end
$fn$`;
}

/** Deletes what a log holds beyond its limit. The caller holds the lock of its row. */
function trim(s: string): string {
  return `create or replace function ${s}.trim_log(p_id bigint, p_max bigint) returns void language plpgsql ${SETTINGS} as $fn$
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
 * bound, so that it is unknown whether the call was carried out.
 */
function append(s: string): string {
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
  if l.sequence > v_bound then
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
    perform 1 from ${s}.leases
    where log = p_log and name = p_name and token = p_token::bigint and expires_at > clock_timestamp() for share;
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
 * id of the log.
 */
function drain(s: string): string {
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
    return '["0", ""]';
  end if;
  v_commits := ${s}.number_outbox(p_log);
  perform ${s}.trim_log(v_id, p_max::bigint);
  return json_build_array(v_commits::text, v_id::text)::text;
end
$fn$`;
}

/**
 * Reads the head of the app's log, and begins it if there is none. The result is JSON: id, epoch, sequence, nonce,
 * former epochs, the identity of the server that the log was last on, and that of this one.
 */
function look(s: string): string {
  return `create or replace function ${s}.look(p_log text, p_epoch text, p_former text) returns text
  language plpgsql ${SETTINGS} as $fn$
declare
  l ${s}.logs%rowtype;
begin
  perform ${s}.require_read_committed();
  select * into l from ${s}.logs where log = p_log and name = '';
  if not found then
    perform ${s}.begin_log(p_log, p_epoch, p_former);
    select * into l from ${s}.logs where log = p_log and name = '';
  end if;
  return json_build_array(l.id::text, l.epoch, l.sequence::text, l.nonce, l.former, l.identity, ${s}.identity())::text;
end
$fn$`;
}

/**
 * Gives the app's log a new epoch, if it still has the given one, and deletes events past its head. The result is as of
 * look; null if there is no log.
 */
function replaceEpoch(s: string): string {
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

/**
 * Reads the head of a log, and events from a sequence on, of one snapshot. The first row is the head: JSON of id, epoch,
 * sequence, nonce, first sequence, former epochs, maxEvents and ttlMs. No row if there is no log.
 */
function page(s: string): string {
  return `create or replace function ${s}.page(p_log text, p_name text, p_from text, p_limit text, p_bytes text)
  returns table (head text, sequence text, nonce text, previous text, "time" text, kind text, topic text, type text, data text)
  language sql stable ${SETTINGS} as $fn$
  with l as (
    select * from ${s}.logs
    where log = p_log and name = p_name and (expires_at is null or expires_at > clock_timestamp())
  ), e as (
    select x.*, row_number() over w as n, sum(octet_length(x.data)) over w as bytes
    from l cross join lateral (
      select * from ${s}.events e
      where e.log_id = l.id and e.sequence >= p_from::bigint and e.sequence <= l.sequence
      order by e.sequence limit p_limit::bigint
    ) x
    window w as (order by x.sequence)
  ), u as (
    select 0 as n, json_build_array(id::text, epoch, sequence::text, nonce, first::text, former, max_events::text,
      ttl_ms::text)::text as head, null::bigint as sequence, null::text as nonce, null::text as previous,
      null::bigint as "time", null::smallint as kind, null::text as topic, null::text as type, null::text as data
    from l
    union all
    select n, null, sequence, nonce, previous, "time", kind, topic, type, data from e
    where n <= 2 or bytes - octet_length(data) < p_bytes::bigint
  )
  select head, sequence::text, nonce, previous, "time"::text, kind::text, topic, type, data from u order by n
$fn$`;
}

/**
 * Reads, for each of several logs, the head, the event at a place, and the events after it, of one snapshot. Each log
 * that is there has a row with its head: JSON of epoch, sequence, nonce, former epochs, and nonce of the event at the
 * place.
 *
 *     p_logs  JSON: an array of [id, sequence of the place]
 */
function tail(s: string): string {
  return `create or replace function ${s}.tail(p_logs text, p_limit text)
  returns table (n text, head text, sequence text, nonce text, previous text, "time" text, kind text, topic text, type text,
    data text)
  language sql stable ${SETTINGS} as $fn$
  with w as (
    select o as n, (r->>0)::bigint as id, (r->>1)::bigint as place
    from json_array_elements(p_logs::json) with ordinality as t (r, o)
  ), l as (
    select w.n, w.place, l.* from w join ${s}.logs l on l.id = w.id
    where l.expires_at is null or l.expires_at > clock_timestamp()
  ), u as (
    select n, json_build_array(epoch, sequence::text, l.nonce, former, (
        select e.nonce from ${s}.events e where e.log_id = l.id and e.sequence = l.place
      ))::text as head, null::bigint as sequence, null::text as nonce, null::text as previous, null::bigint as "time",
      null::smallint as kind, null::text as topic, null::text as type, null::text as data
    from l
    union all
    select l.n, null, x.sequence, x.nonce, x.previous, x."time", x.kind, x.topic, x.type, x.data
    from l cross join lateral (
      select * from ${s}.events e
      where e.log_id = l.id and e.sequence > l.place and e.sequence <= l.sequence
      order by e.sequence limit p_limit::bigint
    ) x
  )
  select n::text, head, sequence::text, nonce, previous, "time"::text, kind::text, topic, type, data
  from u order by u.n, u.sequence nulls first
$fn$`;
}

/**
 * Opens a named log, or begins a new one for the holder of its lease. The result is JSON: [id, epoch]; ["lease-lost"];
 * or '-' if it is too late.
 */
function openLog(s: string): string {
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
    perform 1 from ${s}.leases
    where log = p_log and name = p_name and token = p_token::bigint and expires_at > clock_timestamp() for share;
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
function takeLease(s: string): string {
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
function keepLease(s: string): string {
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
function claim(s: string): string {
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
function sweep(s: string): string {
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
  -- Tokens of a name rise by the clock: a lease that is long over tells nothing that the clock does not.
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
