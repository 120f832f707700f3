#!lua name=headwater_timelines

-- A timeline is a list of ids (16 bytes each) of posts and reposts, newest first. Its last
-- entry is its floor: every id of the timeline that is not below the floor is
-- in the list. Sixteen zero bytes as the floor say that the list is all there
-- is. An entry of 17 bytes at the end marks a timeline that is being filled.
-- Strings are not compared with `<`: that follows the server's locale.

local END = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'

-- Whether id a is newer than id b: most differ in the first half already.
local function newer(a, b)
  local a1, a2 = struct.unpack('>I4I4', a)
  local b1, b2 = struct.unpack('>I4I4', b)
  if a1 ~= b1 then return a1 > b1 end
  if a2 ~= b2 then return a2 > b2 end
  a1, a2 = struct.unpack('>I4I4', a, 9)
  b1, b2 = struct.unpack('>I4I4', b, 9)
  if a1 ~= b1 then return a1 > b1 end
  return a2 > b2
end

-- Whether id goes before entry; everything goes before a mark.
local function before(id, entry)
  return #entry == 17 or newer(id, entry)
end

-- The entries from the head on that are newer than id, and the one after them.
-- The last entry is never among the former, so that a timeline is never empty,
-- which would end its lifetime: where it too is newer, id is below the floor.
-- Posts arrive nearly in order, so it looks at few entries first, and at four
-- times as many each time.
local function above(key, id)
  local entries, from, count = {}, 0, 16
  while true do
    local more = redis.call('LRANGE', key, from, from + count - 1)
    local low, high = 1, #more + 1
    while low < high do
      local middle = math.floor((low + high) / 2)
      if #more[middle] == 16 and newer(more[middle], id) then
        low = middle + 1
      else
        high = middle
      end
    end
    for at = 1, low - 1 do
      entries[#entries + 1] = more[at]
    end
    if low <= #more then
      return entries, more[low]
    end
    if #more < count then
      return entries, table.remove(entries)
    end
    from, count = from + count, count * 4
  end
end

-- Puts ids on top; returns how many entries there are then.
local function put(key, ids)
  local length
  for at = 1, #ids, 500 do
    length = redis.call('LPUSH', key, unpack(ids, at, math.min(at + 499, #ids)))
  end
  return length
end

-- What is newer than the oldest of ids is taken off, and put back with them.
-- Returns how many were not there, and how many entries there are then.
local function unite(key, ids)
  local entries, stays = above(key, ids[1])
  local united, taken, e = {}, 0, #entries
  for _, id in ipairs(ids) do
    while e > 0 and newer(id, entries[e]) do
      united[#united + 1] = entries[e]
      e = e - 1
    end
    if entries[e] ~= id and before(id, stays) then
      united[#united + 1] = id
      taken = taken + 1
    end
  end
  if taken == 0 then
    return 0, 0
  end
  for at = e, 1, -1 do
    united[#united + 1] = entries[at]
  end
  if #entries > 0 then
    redis.call('LTRIM', key, #entries, -1)
  end
  return taken, put(key, united)
end

-- Most posts are newer than all that is there, and are put on top of it.
local function insert(key, ids, entries_max)
  local head = redis.call('LINDEX', key, 0)
  if not head then
    return 0
  end
  local taken, length
  if before(ids[1], head) then
    taken, length = #ids, put(key, ids)
  else
    taken, length = unite(key, ids)
  end
  if length > entries_max and #redis.call('LINDEX', key, -1) == 16 then
    redis.call('LTRIM', key, 0, entries_max - 1)
  end
  return taken
end

-- headwater_insert: put posts into the timelines that exist.
-- KEYS: timelines. ARGV: entries at most, the post ids (oldest first, none
-- twice). Returns how many were not there already, over all timelines.
local function insert_all(keys, args)
  local taken, entries_max = 0, tonumber(args[1])
  local ids = {}
  for at = 2, #args do
    ids[at - 1] = args[at]
  end
  for _, key in ipairs(keys) do
    taken = taken + insert(key, ids, entries_max)
  end
  return taken
end

-- headwater_begin: mark a timeline as being filled.
-- KEYS: timeline. ARGV: mark (17 bytes), its lifetime in ms.
-- Returns the mark to finish with, which is somebody else's where they were
-- first; nothing where the timeline is filled already.
local function begin(keys, args)
  local tail = redis.call('LINDEX', keys[1], -1)
  if not tail then
    redis.call('RPUSH', keys[1], args[1])
    redis.call('PEXPIRE', keys[1], args[2])
    return args[1]
  end
  if #tail == 17 then
    return tail
  end
  return false
end

-- headwater_finish: unite what was found with what arrived since the mark.
-- KEYS: timeline. ARGV: mark, entries at most, lifetime in ms, 1 where the ids
-- are all there is, the ids (newest first, one string). Returns 1 where it was
-- filled, 0 where the mark is gone.
local function finish(keys, args)
  local key, mark, entries_max = keys[1], args[1], tonumber(args[2])
  if redis.call('LINDEX', key, -1) ~= mark then
    return 0
  end
  local arrived = redis.call('LRANGE', key, 0, -2)
  local found, united = args[5], {}
  local a, f = 1, 1
  while a <= #arrived or f <= #found do
    local entry = f <= #found and string.sub(found, f, f + 15)
    if not entry or (a <= #arrived and newer(arrived[a], entry)) then
      united[#united + 1] = arrived[a]
      a = a + 1
    else
      if a <= #arrived and arrived[a] == entry then
        a = a + 1
      end
      united[#united + 1] = entry
      f = f + 16
    end
  end
  local all = args[4] == '1'
  if #united > entries_max then
    all = false
  end
  redis.call('DEL', key)
  for at = 1, math.min(#united, entries_max), 500 do
    redis.call('RPUSH', key, unpack(united, at, math.min(at + 499, #united, entries_max)))
  end
  if all then
    redis.call('RPUSH', key, END)
  end
  redis.call('PEXPIRE', key, args[3])
  return 1
end

-- The entries below id, at most count.
local function below(key, id, count)
  local all = redis.call('LRANGE', key, 0, -1)
  local low, high = 1, #all + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if newer(id, all[middle]) then
      high = middle
    else
      low = middle + 1
    end
  end
  local entries = {}
  for at = low, math.min(low + count - 1, #all) do
    entries[#entries + 1] = all[at]
  end
  return entries
end

-- headwater_slice: read a part of a timeline and keep it alive.
-- KEYS: timeline. ARGV: newest, below or above, the id that this is of, count,
-- lifetime in ms. Returns {floor, ids as one string}, newest first, or nothing where
-- the timeline is not there or not filled yet. Above an id that is below the floor
-- some are missing.
local function slice(keys, args)
  local key, which, id, count = keys[1], args[1], args[2], tonumber(args[3])
  local floor = redis.call('LINDEX', key, -1)
  if not floor or #floor == 17 then
    return false
  end
  redis.call('PEXPIRE', key, args[4])
  local entries
  if which == 'newest' then
    entries = redis.call('LRANGE', key, 0, count - 1)
  elseif which == 'below' then
    entries = below(key, id, count)
  else
    entries = {}
    local all = above(key, id)
    for at = math.max(1, #all - count + 1), #all do
      entries[#entries + 1] = all[at]
    end
  end
  if entries[#entries] == END then
    entries[#entries] = nil
  end
  return { floor, table.concat(entries) }
end

redis.register_function('headwater_insert', insert_all)
redis.register_function('headwater_begin', begin)
redis.register_function('headwater_finish', finish)
redis.register_function('headwater_slice', slice)
