import { SETTINGS } from './shared.js';

/** The head of a function that reads events. A function in SQL would be planned in each call. */
const READING = `language plpgsql stable ${SETTINGS} as $fn$
#variable_conflict use_column
begin
  return query`;

/**
 * Reads the head of the app's log, and begins it if there is none. The result is JSON: id, epoch, sequence, nonce,
 * former epochs, the identity of the server that the log was last on, and that of this one.
 */
export function look(s: string): string {
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
 * Reads the head of a log, and events from a sequence on, of one snapshot. The first row is the head: JSON of id, epoch,
 * sequence, nonce, first sequence, former epochs, maxEvents and ttlMs. No row if there is no log.
 */
export function page(s: string): string {
  return `create or replace function ${s}.page(p_log text, p_name text, p_from text, p_limit text, p_bytes text)
  returns table (head text, sequence text, nonce text, previous text, "time" text, kind text, topic text, type text, data text)
  ${READING}
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
  select head, sequence::text, nonce, previous, "time"::text, kind::text, topic, type, data from u order by n;
end
$fn$`;
}

/**
 * Reads, for each of several logs, the head, the event at a place, and the events after it, of one snapshot. Each log
 * that is there has a row with its head: JSON of epoch, sequence, nonce, former epochs, and nonce of the event at the
 * place.
 *
 *     p_logs  JSON: an array of [id, sequence of the place]
 */
export function tail(s: string): string {
  return `create or replace function ${s}.tail(p_logs text, p_limit text)
  returns table (n text, head text, sequence text, nonce text, previous text, "time" text, kind text, topic text, type text,
    data text)
  ${READING}
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
  from u order by u.n, u.sequence nulls first;
end
$fn$`;
}
