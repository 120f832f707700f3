-- Spends points of several budgets at once, or of none. GCRA: the generic cell
-- rate algorithm of ITU-T I.371, with the virtual scheduling of its annex: a key
-- holds the theoretical arrival time, in microseconds since 1970-01-01 UTC, and
-- expires when its budget is full again.
--
-- For each key three arguments: points, microseconds that one point takes to
-- come back, microseconds that the whole budget takes. Points may be negative:
-- they are given back.
--
-- Returns for each key: 1 where there are enough, microseconds until the budget
-- is full (after this, where all have enough; as it is, where not), microseconds
-- until it has enough.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local answer, later, all = {}, {}, true
for i, key in ipairs(KEYS) do
  local points, each, whole = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  local arrival = math.max(tonumber(redis.call('GET', key) or now), now)
  -- A clock that stepped back, or a budget that was made smaller.
  if arrival > now + whole then
    arrival = now + whole
    redis.call('SET', key, string.format('%.0f', arrival), 'PX', math.ceil(whole / 1000))
  end
  later[i] = math.max(arrival + points * each, now)
  local wait = later[i] - now - whole
  local enough = wait <= 0 or points + 0 <= 0
  all = all and enough
  answer[3 * i - 2] = enough and 1 or 0
  answer[3 * i - 1] = arrival - now
  answer[3 * i] = math.max(wait, 0)
end
if all then
  for i, key in ipairs(KEYS) do
    local left = later[i] - now
    answer[3 * i - 1] = left
    if left > 0 then
      redis.call('SET', key, string.format('%.0f', later[i]), 'PX', math.ceil(left / 1000))
    else
      redis.call('DEL', key)
    end
  end
end
return answer
