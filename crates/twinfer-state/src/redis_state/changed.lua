-- KEYS: changes, revision. ARGV: since (-1: not known).
-- Gives the revision, whether the keys are known, and the keys.
local last = tonumber(redis.call('HGET', KEYS[2], 'last') or '0')
local forgotten = tonumber(redis.call('HGET', KEYS[2], 'forgotten') or '0')
local since = tonumber(ARGV[1])
if since < forgotten or since > last then return {last, 0, {}} end
if since == last then return {last, 1, {}} end
return {last, 1, redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf')}
