-- KEYS: counters; the last one is the name of the merge, where it is one.
-- ARGV: whether it is a merge, then for each counter what is added and its milliseconds.
-- Gives the sum of the last one as text: numbers of scripts are exact up to 2^53 only.
local counters = #KEYS
if ARGV[1] == '1' then
  if not redis.call('SET', KEYS[counters], '1', 'NX', 'PX', '86400000') then return '0' end
  counters = counters - 1
end
for at = 1, counters do
  local by = ARGV[2 * at]
  local done = redis.pcall('INCRBY', KEYS[at], by)
  if type(done) == 'table' and done.err then
    if not string.find(done.err, 'overflow') then return done end
    -- Too much for a number: the last one there is.
    local most = '9223372036854775807'
    if string.sub(by, 1, 1) == '-' then most = '-9223372036854775808' end
    redis.call('SET', KEYS[at], most)
  end
  redis.call('PEXPIRE', KEYS[at], ARGV[2 * at + 1])
end
if counters == 0 then return '0' end
return redis.call('GET', KEYS[counters])
