-- KEYS: document, keys, changes, revision. ARGV: key, expected (-1: any), most changes.
local version = redis.call('HGET', KEYS[1], 'version')
if not version then return 0 end
local expected = tonumber(ARGV[2])
if expected >= 0 and tonumber(version) ~= expected then return 0 end
local revision = redis.call('HINCRBY', KEYS[4], 'last', 1)
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[3], revision, ARGV[1])
if redis.call('ZCARD', KEYS[3]) > tonumber(ARGV[3]) then
  local oldest = redis.call('ZPOPMIN', KEYS[3])
  redis.call('HSET', KEYS[4], 'forgotten', oldest[2])
end
return 1
