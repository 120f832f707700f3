#!lua name=headwater

-- The log's functions. Values are opaque here; all keys are declared; loops
-- are bounded by the caller's batch.

-- An account's last positions are one string: the entry id in its own partition
-- (empty where it has none), then ` partition:id` for each other partition in
-- which it changed something, the last noted last.
local function split(positions)
  local space = positions and string.find(positions, ' ', 1, true)
  if not space then
    return positions or '', ''
  end
  return string.sub(positions, 1, space - 1), string.sub(positions, space)
end

-- Puts the entry id in its own partition, and keeps the others: few accounts have
-- any, so that most take one call. The events are written already: what is no string
-- tells nothing, and is replaced.
local function advance(key, last)
  local before = redis.pcall('SET', key, last, 'GET')
  if type(before) == 'table' then
    redis.call('SET', key, last)
    return
  end
  local _, elsewhere = split(before)
  if elsewhere ~= '' then
    redis.call('SET', key, last .. elsewhere)
  end
end

-- headwater_create: make one partition of a log, unless it is there.
-- KEYS: events, meta. ARGV: partitions of the log, the EpochStarted entry, the
-- epoch, the log's id.
-- Returns the partitions that the log has.
local function create(keys, args)
  local partitions = redis.call('HGET', keys[2], 'partitions')
  if partitions and redis.call('EXISTS', keys[1]) == 1 then
    return tonumber(partitions)
  end
  redis.call('XADD', keys[1], args[3] .. '-0', 'e', args[2])
  redis.call('HSET', keys[2], 'epoch', args[3], 'partitions', args[1], 'id', args[4])
  return tonumber(args[1])
end

-- headwater_append: independent commands of one partition, in order.
-- KEYS: events, meta, then any that the commands name by their index.
-- ARGV: the log's id, number of commands, then for each command:
--   states key index, field, expected version, new state,
--   last key index (0: none),
--   receipt key index (0: none) [, fingerprint, lifetime in ms, payload],
--   number of events, the events.
-- Returns for each command one of
--   {'appended', first id, last id}   {'nothing', last id or ''}
--   {'again', receipt}                {'reused'}
--   {'conflict', version}             {'failed', message}
--   {'gone'}
-- All that can refuse a command comes before its first write: a function that
-- fails does not roll back.
local function append(keys, args)
  local epoch, id = unpack(redis.call('HMGET', keys[2], 'epoch', 'id'))
  if not epoch then
    return redis.error_reply('NOLOG this partition of the log was never made')
  end
  if id ~= args[1] then
    return redis.error_reply('OTHERLOG this is not the log that is written to')
  end
  local at = 1
  local function take()
    at = at + 1
    return args[at]
  end

  local function one()
    local states, field = keys[tonumber(take())], take()
    local expected, state = tonumber(take()), take()
    local last_index, receipt_index = tonumber(take()), tonumber(take())
    local fingerprint, lifetime, payload
    if receipt_index > 0 then
      fingerprint, lifetime, payload = take(), take(), take()
    end
    local first_event = at + 2
    local count = tonumber(take())
    at = at + count

    if receipt_index > 0 then
      local receipt = redis.pcall('GET', keys[receipt_index])
      if type(receipt) == 'table' then
        return { 'failed', receipt.err }
      end
      if receipt then
        if string.match(receipt, '^%d+') == fingerprint then
          return { 'again', receipt }
        end
        return { 'reused' }
      end
    end
    local current = redis.pcall('HGET', states, field)
    if type(current) == 'table' then
      return { 'failed', current.err }
    end
    local version = 0
    if current then
      version = tonumber(string.match(current, '^%d+') or '')
      if not version then
        return { 'failed', 'a state has no version' }
      end
    end
    if version ~= expected then
      return { 'conflict', version }
    end
    local last = ''
    if count == 0 and last_index > 0 then
      local before = redis.pcall('GET', keys[last_index])
      if type(before) == 'table' then
        return { 'failed', before.err }
      end
      last = split(before)
    end

    local first = ''
    for event = first_event, first_event + count - 1 do
      -- A stream that is gone must not begin again at positions once given.
      local id = redis.pcall('XADD', keys[1], 'NOMKSTREAM', epoch .. '-*', 'e', args[event])
      if not id then
        return { 'gone' }
      end
      if type(id) == 'table' then
        return { 'failed', id.err }
      end
      if first == '' then
        first = id
      end
      last = id
    end
    if count > 0 then
      redis.call('HSET', states, field, string.format('%d ', expected + count) .. state)
      if last_index > 0 then
        advance(keys[last_index], last)
      end
    end
    if receipt_index > 0 then
      local receipt = fingerprint .. ' ' .. first .. ' ' .. last .. ' ' .. payload
      redis.call('SET', keys[receipt_index], receipt, 'PX', lifetime)
    end
    if count == 0 then
      return { 'nothing', last }
    end
    return { 'appended', first, last }
  end

  local replies = {}
  for command = 1, tonumber(take()) do
    replies[command] = one()
  end
  return replies
end

-- headwater_note: keep an account's last position in another partition than its
-- own, where one of a later event is not noted yet. KEYS: the account's last
-- positions. ARGV: partition, entry id, how many other partitions are kept.
local function note(keys, args)
  local own, elsewhere = split(redis.call('GET', keys[1]))
  local function parts(id)
    local epoch, seq = string.match(id, '^(%d+)-(%d+)$')
    return tonumber(epoch), tonumber(seq)
  end
  local kept, noted = {}, args[2]
  for partition, id in string.gmatch(elsewhere, ' (%d+):(%d+%-%d+)') do
    if partition ~= args[1] then
      kept[#kept + 1] = ' ' .. partition .. ':' .. id
    else
      local epoch, seq = parts(id)
      local new_epoch, new_seq = parts(noted)
      if epoch > new_epoch or (epoch == new_epoch and seq > new_seq) then
        noted = id
      end
    end
  end
  kept[#kept + 1] = ' ' .. args[1] .. ':' .. noted
  local first = math.max(1, #kept - tonumber(args[3]) + 1)
  redis.call('SET', keys[1], own .. table.concat(kept, '', first))
end

-- headwater_restate: put a state that was made from events where there is none,
-- or none of a later version. KEYS: states. ARGV: field, version, state.
local function restate(keys, args)
  local current = redis.call('HGET', keys[1], args[1])
  local version = current and tonumber(string.match(current, '^%d+') or '')
  if not version or version <= tonumber(args[2]) then
    redis.call('HSET', keys[1], args[1], args[2] .. ' ' .. args[3])
  end
end

redis.register_function('headwater_create', create)
redis.register_function('headwater_restate', restate)
redis.register_function('headwater_append', append)
redis.register_function('headwater_note', note)
