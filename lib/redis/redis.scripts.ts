import { createHash } from 'node:crypto';

/** A script that Redis keeps by its digest once it has seen it. */
export class RedisScript {
  readonly text: string;
  readonly digest: string;

  constructor(text: string) {
    this.text = text;
    this.digest = createHash('sha1').update(text).digest('hex');
  }
}

/** A log that has none yet is given an epoch, and whatever a lost one has left goes in the same script. */
const BEGIN = `
local function begin(events, meta, epoch)
  redis.call('DEL', events)
  redis.call('HSET', meta, 'epoch', epoch, 'sequence', '0', 'nonce', '0')
  return { epoch, '0', '0' }
end
local function headOf(events, meta, newEpoch)
  local head = redis.call('HMGET', meta, 'epoch', 'sequence', 'nonce')
  if head[1] and head[2] and head[3] then return head end
  if newEpoch == '' then return nil end
  return begin(events, meta, newEpoch)
end
`;

/**
 * Appends records, all or none.
 *
 *     KEYS  events, meta, publish [, lease]
 *     ARGV  new epoch, '' of a named log
 *           epoch that must stand, '' for any
 *           maxEvents, maxAgeMs (0: none), ttlMs (0: none), milliseconds to keep the publish key
 *           token of the lease
 *           time, and then for each record: nonce, topic, type, data, 1 where data is JSON
 *     reply ['ok', epoch, first sequence], ['expired'] or ['lease-lost']
 *
 * An entry's id is its sequence and its nonce. It holds the nonce of the entry before it, so that whoever
 * reads on knows it for the next of the same line, also after a failover that nobody noticed. The sequence
 * is stored last: were the meta hash lost in between, the next append would find no epoch, and begin anew.
 */
export const APPEND = new RedisScript(`${BEGIN}
local events, meta, publish, lease = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local done = redis.call('GET', publish)
if done then
  local colon = string.find(done, ':', 1, true)
  return { 'ok', string.sub(done, 1, colon - 1), string.sub(done, colon + 1) }
end
if lease and redis.call('GET', lease) ~= ARGV[7] then return { 'lease-lost' } end
local head = headOf(events, meta, ARGV[1])
if not head or (ARGV[2] ~= '' and head[1] ~= ARGV[2]) then return { 'expired' } end
local maxAge, ttl, time = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[8]

local function add(sequence, previous, at)
  return redis.pcall('XADD', events, 'MAXLEN', '~', ARGV[3], sequence .. '-' .. ARGV[at],
    'c', time, 'p', previous, 't', ARGV[at + 1], 'y', ARGV[at + 2], 'd', ARGV[at + 3], 'j', ARGV[at + 4])
end
local function addAll()
  local sequence, previous = tonumber(head[2]), head[3]
  for at = 9, #ARGV, 5 do
    sequence = sequence + 1
    local added = add(string.format('%.0f', sequence), previous, at)
    if added.err then return nil, added end
    previous = ARGV[at]
  end
  redis.call('HSET', meta, 'sequence', string.format('%.0f', sequence), 'nonce', previous)
  return sequence
end

local sequence, failure = addAll()
if failure and string.find(failure.err, 'equal or smaller', 1, true) then
  -- The stream is ahead of the hash: one of them is of another time, and what stands there is no log.
  if ARGV[1] == '' then
    redis.call('DEL', events, meta)
    return { 'expired' }
  end
  head = begin(events, meta, ARGV[1])
  sequence, failure = addAll()
end
if failure then return failure end

local count = (#ARGV - 8) / 5
if maxAge > 0 then
  local oldest = redis.call('XRANGE', events, '-', '+', 'COUNT', count + 10)
  local first
  for _, entry in ipairs(oldest) do
    if tonumber(entry[2][2]) >= tonumber(time) - maxAge then break end
    first = entry[1]
  end
  if first then
    local dash = string.find(first, '-', 1, true)
    redis.call('XTRIM', events, 'MINID', string.format('%.0f', tonumber(string.sub(first, 1, dash - 1)) + 1))
  end
  redis.call('PEXPIRE', events, ARGV[4])
end
if ttl > 0 then
  redis.call('PEXPIRE', events, ARGV[5])
  redis.call('PEXPIRE', meta, ARGV[5])
end
local from = string.format('%.0f', sequence - count + 1)
redis.call('SET', publish, head[1] .. ':' .. from, 'PX', ARGV[6])
return { 'ok', head[1], from }
`);

/**
 * The head, and entries from a sequence on.
 *
 *     KEYS  events, meta
 *     ARGV  new epoch, '' of a named log; sequence; most entries; bytes after which no further one is added
 *     reply [epoch, sequence, nonce, id of the first entry or '', entries, maxEvents, ttlMs], the last two of a
 *           named log alone; [] where there is no log
 */
export const PAGE = new RedisScript(`${BEGIN}
local events, meta = KEYS[1], KEYS[2]
local head = headOf(events, meta, ARGV[1])
if not head then return {} end
local limit, bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local entries, start, size = {}, ARGV[2], 0
while #entries < limit and (size < bytes or #entries < 2) do
  local some = redis.call('XRANGE', events, start, '+', 'COUNT', math.min(limit - #entries, size == 0 and 2 or 50))
  for _, entry in ipairs(some) do
    size = size + #entry[2][6] + #entry[2][10]
    entries[#entries + 1] = entry
    start = '(' .. entry[1]
    if size >= bytes and #entries >= 2 then break end
  end
  if #some == 0 then break end
end
local first = redis.call('XRANGE', events, '-', '+', 'COUNT', 1)[1]
local limits = redis.call('HMGET', meta, 'maxEvents', 'ttlMs')
return { head[1], head[2], head[3], first and first[1] or '', entries, limits[1] or '', limits[2] or '' }
`);

/**
 * For each of several logs, the head and whatever stands at a place or comes next after it.
 *
 *     KEYS  events and meta of each
 *     ARGV  new epoch, '' of a named log, and a sequence, of each
 *     reply for each [epoch, sequence, nonce, id of the entry, nonce that the entry has for the one before it]
 *           with '' for what there is not, and an epoch of '' where there is no log
 */
export const VERIFY = new RedisScript(`${BEGIN}
local all = {}
for n = 1, #KEYS, 2 do
  local head = headOf(KEYS[n], KEYS[n + 1], ARGV[n])
  if head then
    local entry = redis.call('XRANGE', KEYS[n], ARGV[n + 1], '+', 'COUNT', 1)[1]
    all[#all + 1] = { head[1], head[2], head[3], entry and entry[1] or '', entry and entry[2][4] or '' }
  else
    all[#all + 1] = { '', '0', '0', '', '' }
  end
end
return all
`);

/**
 * Gives a log another epoch, where it still has the one that it had.
 *
 *     KEYS  meta
 *     ARGV  the epoch; a new one
 *     reply [epoch, sequence, nonce]
 */
export const REPLACE_EPOCH = new RedisScript(`
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then redis.call('HSET', KEYS[1], 'epoch', ARGV[2]) end
return redis.call('HMGET', KEYS[1], 'epoch', 'sequence', 'nonce')
`);

/**
 * Opens a named log, or begins it anew for the holder of its lease.
 *
 *     KEYS  events, meta, lease
 *     ARGV  new epoch; ttlMs; maxEvents; token of the lease that begins it anew, or ''
 *     reply its epoch, or '' where the lease is lost
 */
export const OPEN = new RedisScript(`${BEGIN}
local events, meta, lease = KEYS[1], KEYS[2], KEYS[3]
local head
if ARGV[4] == '' then
  head = headOf(events, meta, ARGV[1])
else
  if redis.call('GET', lease) ~= ARGV[4] then return '' end
  head = begin(events, meta, ARGV[1])
end
redis.call('HSET', meta, 'maxEvents', ARGV[3], 'ttlMs', ARGV[2])
redis.call('PEXPIRE', events, ARGV[2])
redis.call('PEXPIRE', meta, ARGV[2])
return head[1]
`);

/**
 * Takes a lease. Its token is above any that Redis knows of: it is the time, in milliseconds, or one more than the
 * last, so that it rises also where the last of them were lost with the data of a server, as far as clocks agree.
 *
 *     KEYS  lease, token
 *     ARGV  ttlMs, time
 *     reply the token, or '' where another holds it
 */
export const TAKE_LEASE = new RedisScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then return '' end
local token = string.format('%.0f', math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1, tonumber(ARGV[2])))
redis.call('SET', KEYS[2], token)
redis.call('SET', KEYS[1], token, 'PX', ARGV[1])
return token
`);

/**
 * Keeps a lease, or gives it back.
 *
 *     KEYS  lease
 *     ARGV  token; ttlMs, 0 to give it back
 *     reply 1, or 0 where it is lost
 */
export const KEEP_LEASE = new RedisScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`);
