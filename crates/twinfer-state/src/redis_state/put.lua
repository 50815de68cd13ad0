-- KEYS: document, keys, changes, revision. ARGV: key, value, expected (-1: any), most changes.
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
local expected = tonumber(ARGV[3])
if expected >= 0 and version ~= expected then return 0 end
local revision = redis.call('HINCRBY', KEYS[4], 'last', 1)
redis.call('HSET', KEYS[1], 'value', ARGV[2], 'version', revision)
redis.call('ZADD', KEYS[2], 0, ARGV[1])
redis.call('ZADD', KEYS[3], revision, ARGV[1])
if redis.call('ZCARD', KEYS[3]) > tonumber(ARGV[4]) then
  local oldest = redis.call('ZPOPMIN', KEYS[3])
  redis.call('HSET', KEYS[4], 'forgotten', oldest[2])
end
return revision
