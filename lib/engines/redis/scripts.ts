import { createHash } from 'node:crypto';

/** A script. Redis keeps it by its digest after its first run. */
export class RedisScript {
  readonly text: string;
  readonly digest: string;

  constructor(text: string) {
    this.text = text;
    this.digest = createHash('sha1').update(text).digest('hex');
  }
}

/**
 * Content of other programs under our keys is input. A key that is no hash, or holds no head, counts as absent. Entries
 * past the head of a stream are deleted, since no entry of ours could be added after them.
 *
 * A log without an epoch gets one, and the remains of a lost log are deleted in the same script. It begins with the
 * former epochs that its first process knows.
 */
export const HEAD = `
local function isLate(deadline)
  if deadline == '' then return false end
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000 + tonumber(now[2]) / 1000 > tonumber(deadline)
end
local function isWhole(text, most)
  return type(text) == 'string' and #text <= 16 and string.match(text, '^%d+$') and tonumber(text) <= most
end
local function isHead(head)
  return not head.err and type(head[1]) == 'string' and #head[1] <= 32 and string.match(head[1], '^[0-9a-z]+$')
    and isWhole(head[2], 9007199254740991) and isWhole(head[3], 4294967295)
end
local function begin(events, meta, epoch, former)
  redis.call('DEL', events, meta)
  redis.call('HSET', meta, 'epoch', epoch, 'sequence', '0', 'nonce', '0', 'former', former)
  return { epoch, '0', '0', former }
end
local function headOf(events, meta, newEpoch, former)
  local head = redis.pcall('HMGET', meta, 'epoch', 'sequence', 'nonce', 'former')
  if isHead(head) then
    head[4] = head[4] or ''
    return head
  end
  if newEpoch == '' then return nil end
  return begin(events, meta, newEpoch, former)
end
-- Returns the entries from a sequence to the head. A key that is no stream is deleted.
local function range(events, head, from, count)
  local found = redis.pcall('XRANGE', events, from, head[2] .. '-' .. head[3], 'COUNT', count)
  if not found.err then return found end
  redis.call('DEL', events)
  return {}
end
-- Deletes the entries past the head, and returns 'cleared' if there were any. It stops with 'broken' at an entry that
-- continues the log's own line: the hash is older than the stream, or another program has written what looks like an
-- event. It stops with 'mixed' at one that looks like an event if the head itself is missing: hash and stream are of
-- different logs.
local function clear(events, head, isAll)
  local id = head[2] .. '-' .. head[3]
  local past = redis.pcall('XRANGE', events, '(' .. id, '+', 'COUNT', '1')
  if past.err then
    redis.call('DEL', events)
    return 'cleared'
  end
  if #past == 0 then return '' end
  local hasHead = head[2] == '0' or #redis.call('XRANGE', events, id, id) > 0
  local following = string.format('%.0f', tonumber(head[2]) + 1) .. '-'
  for _ = 1, 10 do
    local some = redis.call('XRANGE', events, '(' .. id, '+', 'COUNT', 100)
    local ids = {}
    for n, entry in ipairs(some) do
      local fields = entry[2]
      if not isAll and fields[1] == 'c' and fields[3] == 'p' and fields[5] == 't' and fields[11] == 'j' then
        local follows = fields[4] == head[3] and string.sub(entry[1], 1, #following) == following
        if follows then return 'broken' end
        if not hasHead then return 'mixed' end
      end
      ids[n] = entry[1]
    end
    if #ids == 0 then break end
    redis.call('XDEL', events, unpack(ids))
  end
  return 'cleared'
end
`;

// The most that a rebuilt stream keeps: Redis serves no other client meanwhile.
const KEPT_EVENTS = 2_000;
const KEPT_BYTES = 4_194_304;

/**
 * Makes the stream accept the entry after the head again. Redis refuses an id below the highest one that the stream has
 * ever had. XSETID lowers that; before 7.0 it takes no further arguments. From 7.2 on, and on Valkey, it refuses to go
 * below a deleted entry: then the stream is rebuilt with its newest events.
 */
export const LOWER = `
local function newestOf(events, id)
  local kept, bytes, at = {}, 0, id
  while true do
    local some = redis.call('XREVRANGE', events, at, '-', 'COUNT', 100)
    for n = (#kept == 0 and 1 or 2), #some do
      local fields = some[n][2]
      for _, field in ipairs(fields) do bytes = bytes + #field end
      if #kept == ${KEPT_EVENTS} or (bytes > ${KEPT_BYTES} and #kept > 0) then return kept end
      -- An entry with more fields is another program's, and unpack() has a limit.
      if #fields > 100 then return kept end
      kept[#kept + 1] = some[n]
    end
    if #some < 100 then return kept end
    at = some[#some][1]
  end
end
local function lower(events, head)
  local id = head[2] .. '-' .. head[3]
  if #redis.call('XRANGE', events, '(' .. id, '+', 'COUNT', 1) > 0 then return end
  local set = redis.pcall('XSETID', events, id, 'ENTRIESADDED', redis.call('XLEN', events), 'MAXDELETEDID', '0-0')
  if set.err then set = redis.pcall('XSETID', events, id) end
  if not set.err then return end
  local kept, anew, ttl = newestOf(events, id), events .. ':%anew', redis.call('PTTL', events)
  redis.call('DEL', anew)
  for n = #kept, 1, -1 do
    local added = redis.pcall('XADD', anew, kept[n][1], unpack(kept[n][2]))
    if added.err then
      redis.call('DEL', anew)
      return added
    end
  end
  if #kept == 0 then
    redis.call('DEL', events)
    return
  end
  if ttl > 0 then redis.call('PEXPIRE', anew, ttl) end
  redis.call('RENAME', anew, events)
end
`;

/** How a script adds records. All texts are expressions of Lua. */
interface Adding {
  /** The first record's place in ARGV, and the arguments of each: nonce, topic, type, data, 1 if data is JSON, … */
  readonly from: number;
  readonly step: number;
  /** The time of the record `at`, in milliseconds since 1970. */
  readonly time: string;
  /** What is stored with the head, in the same step. */
  readonly withHead?: string;
}

/**
 * Adds records after the head, and deletes those that are too old. It leaves the sequence of the first in `from`. The
 * script has set `events`, `meta`, `head`, `maxEvents`, `maxAge` and `now`.
 */
export function adding({ from, step, time, withHead = '' }: Adding): string {
  return `
local function add(place, previous, at)
  return redis.pcall('XADD', events, 'MAXLEN', '~', maxEvents, place .. '-' .. ARGV[at],
    'c', ${time}, 'p', previous, 't', ARGV[at + 1], 'y', ARGV[at + 2], 'd', ARGV[at + 3], 'j', ARGV[at + 4])
end
local function addAll()
  local sequence, previous = tonumber(head[2]), head[3]
  local first, place
  for at = ${from}, #ARGV, ${step} do
    sequence = sequence + 1
    place = string.format('%.0f', sequence)
    first = first or place
    local added = add(place, previous, at)
    if added.err then return nil, added end
    previous = ARGV[at]
  end
  redis.call('HSET', meta, 'sequence', place, 'nonce', previous${withHead})
  return first
end

local function isTooLow(failure)
  return failure and string.find(failure.err, 'equal or smaller', 1, true)
end
local from, failure = addAll()
if isTooLow(failure) then
  local refused = lower(events, head)
  if refused then return refused end
  from, failure = addAll()
end
if isTooLow(failure) then return { 'again' } end
if failure then return failure end

if maxAge > 0 then
  local count = (#ARGV - ${from - 1}) / ${step}
  local oldest = redis.call('XRANGE', events, '-', '+', 'COUNT', count + 10)
  local first
  for _, entry in ipairs(oldest) do
    if (tonumber(entry[2][2]) or 0) >= tonumber(now) - maxAge then break end
    first = entry[1]
  end
  if first then
    local dash = string.find(first, '-', 1, true)
    redis.call('XTRIM', events, 'MINID', string.format('%.0f', tonumber(string.sub(first, 1, dash - 1)) + 1))
  end
  redis.call('PEXPIRE', events, maxAge)
end
`;
}

/**
 * Appends records, all or none.
 *
 *     KEYS  events, meta, publish [, lease]
 *     ARGV  new epoch, '' of a named log
 *           epoch that must stand, '' for any
 *           maxEvents, maxAgeMs (0: none), ttlMs (0: none), milliseconds to keep the publish key
 *           token of the lease, time
 *           milliseconds of Redis's own clock after which nothing is appended
 *           former epochs of a new log; of a named log, the newest sequence that was acknowledged to the lease holder
 *           for each record: nonce, topic, type, data, 1 if data is JSON
 *     reply ['ok', epoch, first sequence], ['late', time], ['lease-lost'];
 *           ['expired'] if the log is gone, or lacks what was acknowledged to the lease holder;
 *           ['broken', epoch, former epochs] if the log needs another epoch, ['again'] if there is more to clear
 *
 * An entry's id is its sequence and its nonce. It holds the nonce of the entry before it, so that a reader can tell
 * that it follows, also after an unnoticed failover. The sequence is stored last: if the meta hash were lost in
 * between, the next append would find no epoch and begin a new log.
 */
export const APPEND = new RedisScript(`${HEAD}${LOWER}
local events, meta, publish, lease = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local done = redis.call('GET', publish)
if done then
  local colon = string.find(done, ':', 1, true)
  return { 'ok', string.sub(done, 1, colon - 1), string.sub(done, colon + 1) }
end
if isLate(ARGV[9]) then
  local now = redis.call('TIME')
  return { 'late', string.format('%.0f', tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)) }
end
if lease and redis.pcall('GET', lease) ~= ARGV[7] then return { 'lease-lost' } end
local head = headOf(events, meta, ARGV[1], ARGV[10])
if not head or (ARGV[2] ~= '' and head[1] ~= ARGV[2]) then return { 'expired' } end
-- An old copy of the log has come back. Clients would get what follows without what is gone.
if lease and tonumber(head[2]) < tonumber(ARGV[10]) then return { 'expired' } end
local past = clear(events, head, false)
if past == 'broken' or past == 'mixed' then
  if ARGV[1] == '' then
    redis.call('DEL', events, meta)
    return { 'expired' }
  end
  if past == 'broken' then return { 'broken', head[1], head[4] } end
  head = begin(events, meta, ARGV[1], ARGV[10])
end
local maxEvents, maxAge, ttl, now = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[8]
${adding({ from: 11, step: 5, time: 'now' })}if ttl > 0 then
  redis.call('PEXPIRE', events, ARGV[5])
  redis.call('PEXPIRE', meta, ARGV[5])
end
redis.call('SET', publish, head[1] .. ':' .. from, 'PX', ARGV[6])
return { 'ok', head[1], from }
`);

/**
 * Reads the head, and entries from a sequence on.
 *
 *     KEYS  events, meta
 *     ARGV  new epoch, '' of a named log; sequence; most entries; bytes after which no further one is added; former
 *           epochs of a new log
 *     reply [epoch, sequence, nonce, id of the first entry or '', entries, maxEvents, ttlMs, former epochs], maxEvents
 *           and ttlMs of a named log alone; [] if there is no log
 */
export const PAGE = new RedisScript(`${HEAD}
local events, meta = KEYS[1], KEYS[2]
local head = headOf(events, meta, ARGV[1], ARGV[5])
if not head then return {} end
local limit, bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local entries, start, size = {}, ARGV[2], 0
while #entries < limit and (size < bytes or #entries < 2) do
  local some = range(events, head, start, math.min(limit - #entries, size == 0 and 2 or 50))
  for _, entry in ipairs(some) do
    size = size + #(entry[2][6] or '') + #(entry[2][10] or '')
    entries[#entries + 1] = entry
    start = '(' .. entry[1]
    if size >= bytes and #entries >= 2 then break end
  end
  if #some == 0 then break end
end
local first = range(events, head, '-', 1)[1]
local limits = redis.call('HMGET', meta, 'maxEvents', 'ttlMs')
return { head[1], head[2], head[3], first and first[1] or '', entries, limits[1] or '', limits[2] or '', head[4] }
`);

/**
 * Reads, for each of several logs, the head and the entries at a place and after it. Deletes entries past the head.
 *
 *     KEYS  events and meta of each
 *     ARGV  new epoch, '' of a named log, a sequence, and former epochs of a new log, of each
 *     reply for each [epoch, sequence, nonce, former epochs, 'broken', 'cleared' or '', and for the first two entries
 *           from the place to the head: id, nonce of the entry before it], '' for a missing value, and an epoch of ''
 *           if there is no log
 */
export const VERIFY = new RedisScript(`${HEAD}
local all = {}
for n = 1, #KEYS, 2 do
  local at = (n - 1) / 2 * 3
  local events = KEYS[n]
  local head = headOf(events, KEYS[n + 1], ARGV[at + 1], ARGV[at + 3])
  local found = { '', '0', '0', '', '' }
  if head then
    local state = clear(events, head, false)
    if state == 'mixed' then
      if ARGV[at + 1] == '' then
        state = 'broken'
      else
        head, state = begin(events, KEYS[n + 1], ARGV[at + 1], ARGV[at + 3]), ''
      end
    end
    found = { head[1], head[2], head[3], head[4], state }
    for _, entry in ipairs(range(events, head, ARGV[at + 2], 2)) do
      found[#found + 1] = entry[1]
      found[#found + 1] = entry[2][4] or ''
    end
  end
  all[#all + 1] = found
end
return all
`);

/**
 * Gives a log a new epoch, if it still has the given one, and deletes entries past its head.
 *
 *     KEYS  events, meta
 *     ARGV  the epoch; a new one; the former epochs
 *     reply [epoch, sequence, nonce, former epochs]; [] if there is no log
 */
export const REPLACE_EPOCH = new RedisScript(`${HEAD}
local head = headOf(KEYS[1], KEYS[2], '', '')
if not head then return {} end
if head[1] == ARGV[1] then
  clear(KEYS[1], head, true)
  redis.call('HSET', KEYS[2], 'epoch', ARGV[2], 'former', ARGV[3])
  head[1], head[4] = ARGV[2], ARGV[3]
end
return head
`);

/**
 * Opens a named log, or begins a new one for the holder of its lease.
 *
 *     KEYS  events, meta, lease
 *     ARGV  new epoch; ttlMs; maxEvents; token of the lease that replaces the log, or ''; deadline as of APPEND
 *     reply its epoch, '' if the lease is lost, '-' if it is too late
 */
export const OPEN = new RedisScript(`${HEAD}
local events, meta, lease = KEYS[1], KEYS[2], KEYS[3]
if isLate(ARGV[5]) then return '-' end
local head
if ARGV[4] == '' then
  head = headOf(events, meta, ARGV[1], '')
else
  if redis.pcall('GET', lease) ~= ARGV[4] then return '' end
  head = begin(events, meta, ARGV[1], '')
end
redis.call('HSET', meta, 'maxEvents', ARGV[3], 'ttlMs', ARGV[2])
redis.call('PEXPIRE', events, ARGV[2])
redis.call('PEXPIRE', meta, ARGV[2])
return head[1]
`);

/**
 * Takes a lease. Its token is the time in milliseconds or one more than the last token, whichever is higher. So tokens
 * rise even if a server has lost its data with the last tokens, as far as clocks agree.
 *
 *     KEYS  lease, token
 *     ARGV  ttlMs, time; deadline as of APPEND
 *     reply the token, '' if another holds it, '-' if it is too late
 */
export const TAKE_LEASE = new RedisScript(`${HEAD}
if isLate(ARGV[3]) then return '-' end
for _, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'string' and kind ~= 'none' then redis.call('DEL', key) end
end
if redis.call('PTTL', KEYS[1]) > 0 then return '' end
local last = redis.call('GET', KEYS[2])
local token = math.max((isWhole(last, 9007199254740990) and tonumber(last) or 0) + 1, tonumber(ARGV[2]))
token = string.format('%.0f', token)
redis.call('SET', KEYS[2], token)
redis.call('SET', KEYS[1], token, 'PX', ARGV[1])
return token
`);

/**
 * Takes a name for a time, if it is free. A key of another kind counts as taken.
 *
 *     KEYS  claim
 *     ARGV  ttlMs, deadline as of APPEND
 *     reply 1, 0 if it is taken, '-' if it is too late
 */
export const CLAIM = new RedisScript(`${HEAD}
if isLate(ARGV[2]) then return '-' end
return redis.call('SET', KEYS[1], '1', 'PX', ARGV[1], 'NX') and 1 or 0
`);

/**
 * Renews a lease, or releases it.
 *
 *     KEYS  lease
 *     ARGV  token; ttlMs, 0 to release it; deadline as of APPEND
 *     reply 1, 0 if it is lost, -1 if it is too late
 */
export const KEEP_LEASE = new RedisScript(`${HEAD}
if isLate(ARGV[3]) then return -1 end
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`);
