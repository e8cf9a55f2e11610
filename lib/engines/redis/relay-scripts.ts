import { adding, HEAD, LOWER, RedisScript } from './scripts.js';

/**
 * Appends events of the source to the app's log, and stores the place of the last one in the source, all or none.
 *
 *     KEYS  events, meta
 *     ARGV  new epoch, former epochs of a new log
 *           place in the source that must be stored, '' for none; the new one
 *           maxEvents, maxAgeMs (0: none), time
 *           for each record: nonce, topic, type, data, 1 if data is JSON, time
 *     reply ['ok', epoch, first sequence]; ['moved'] if another place is stored; ['broken', epoch, former epochs] and
 *           ['again'] as of APPEND
 */
export const RELAY = new RedisScript(`${HEAD}${LOWER}
local events, meta = KEYS[1], KEYS[2]
local head = headOf(events, meta, ARGV[1], ARGV[2])
local past = clear(events, head, false)
if past == 'broken' then return { 'broken', head[1], head[4] } end
if past == 'mixed' then head = begin(events, meta, ARGV[1], ARGV[2]) end
if (redis.call('HMGET', meta, 'source')[1] or '') ~= ARGV[3] then return { 'moved' } end
local maxEvents, maxAge, now = ARGV[5], tonumber(ARGV[6]), ARGV[7]
${adding({ from: 8, step: 6, time: 'ARGV[at + 5]', withHead: ", 'source', ARGV[4]" })}
return { 'ok', head[1], from }
`);

/**
 * Gives the app's log a new epoch and a new place in its source, if it still has the given epoch.
 *
 *     KEYS  events, meta
 *     ARGV  the epoch; a new one; the former epochs; the place, '' for none; '1' if the log keeps its events
 */
export const RENEW = new RedisScript(`${HEAD}
local events, meta = KEYS[1], KEYS[2]
local head = headOf(events, meta, '', '')
if not head or head[1] ~= ARGV[1] then return end
if ARGV[5] == '1' then
  clear(events, head, true)
  redis.call('HSET', meta, 'epoch', ARGV[2], 'former', ARGV[3])
else
  begin(events, meta, ARGV[2], ARGV[3])
end
redis.call('HSET', meta, 'source', ARGV[4])
`);
