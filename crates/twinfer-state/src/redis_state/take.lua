-- `Rate::take` in bucket.rs, with the same names. All numbers are below 2^53.
-- KEYS: bucket. ARGV: interval, capacity, now (-1: this server's clock).
-- Gives whether there was a token, and the milliseconds until the bucket is full.
local interval = tonumber(ARGV[1])
local capacity = tonumber(ARGV[2])
local now = tonumber(ARGV[3])
if now < 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local full_at = tonumber(redis.call('GET', KEYS[1]) or '0')
full_at = math.min(math.max(full_at, now), now + capacity)
local allowed = 0
if full_at + interval <= now + capacity then
  allowed = 1
  full_at = full_at + interval
end
local missing = string.format('%.0f', full_at - now)
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', missing)
return {allowed, missing}
