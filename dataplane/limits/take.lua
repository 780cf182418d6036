-- All the checks of one round trip, decided at one moment of Redis' own clock. Keeps nothing but what KEYS name.
--
-- ARGV[1], JSON: {rules: one [algorithm, limit, window, burst] for each of KEYS, in seconds;
--                 groups: [how many requests, [keys that must grant them], [keys that only count along]], by index}
-- Answers, JSON: for each group how many were granted; then for each key that must grant: how many it has left, the
-- seconds until it has one, the seconds until it has all; for each key that counts along: how many it would have refused.
--
-- The algorithms are those of token_bucket.py and windows.py; a key holds the three numbers of a Count.

local TOKEN_BUCKET, FIXED_WINDOW = 0, 1  -- else a sliding window
local SLACK = 1e-9
local PACKED_BYTES = 24

local clock = redis.call("TIME")
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000

local function opened(rule, packed)
    local count = {algorithm = rule[1], limit = rule[2], window = rule[3], burst = rule[4]}
    local amount, at, before
    local kept = packed and #packed == PACKED_BYTES  -- else another program's, or another version's
    if kept then
        amount, at, before = struct.unpack("<ddd", packed)
    end
    if count.algorithm == TOKEN_BUCKET then
        count.amount, count.at, count.before = count.burst, now, 0
        if kept then
            count.amount = math.min(count.burst, amount + math.max(0, now - at) * count.limit / count.window)
            count.changed = now < at  -- the clock was put back, and the bucket fills from here on
        end
        return count
    end
    local start = math.floor(now / count.window) * count.window
    if not kept then
        count.amount, count.at, count.before = 0, start, 0
    elseif at < start then
        count.amount, count.at = 0, start
        count.before = start - at < 1.5 * count.window and amount or 0
    else
        count.amount, count.at, count.before = amount, at, before
        if at - start > 1.5 * count.window then  -- put back by far: nobody is to wait until then
            count.at, count.changed = start, true
        end
    end
    return count
end

local function passed(count)
    return math.max(0, math.min(count.window, now - count.at))
end

local function room(count)
    if count.algorithm == TOKEN_BUCKET then
        return count.amount
    elseif count.algorithm == FIXED_WINDOW then
        return count.limit - count.amount
    end
    return count.limit - count.amount - count.before * (1 - passed(count) / count.window)
end

local function take(count, requests)
    count.amount = count.amount + (count.algorithm == TOKEN_BUCKET and -requests or requests)
    count.changed = true
end

local function seconds_to_one(count)
    local left = room(count)
    if left >= 1 - SLACK then
        return 0
    elseif count.algorithm == TOKEN_BUCKET then
        return (1 - left) * count.window / count.limit
    elseif count.algorithm == FIXED_WINDOW then
        return count.at + count.window - now
    end
    local fits = count.limit - 1 - count.amount
    if fits >= 0 and count.before > 0 then
        return count.window * (1 - fits / count.before) - (now - count.at)
    end
    return 2 * count.window - (now - count.at) - count.window * (count.limit - 1) / count.amount
end

local function seconds_to_all(count)
    if count.algorithm == TOKEN_BUCKET then
        return (count.burst - count.amount) * count.window / count.limit
    elseif count.algorithm == FIXED_WINDOW then
        return count.at + count.window - now
    end
    return count.at + 2 * count.window - now
end

local asked = cjson.decode(ARGV[1])
local counts = {}
for index, kept in ipairs(redis.call("MGET", unpack(KEYS))) do
    counts[index] = opened(asked.rules[index], kept)
end

local answer = {}
for _, group in ipairs(asked.groups) do
    local granted = group[1]
    for _, index in ipairs(group[2]) do
        granted = math.min(granted, math.max(0, math.floor(room(counts[index]) + SLACK)))
    end
    answer[#answer + 1] = granted
    if granted > 0 then
        for _, index in ipairs(group[2]) do
            take(counts[index], granted)
        end
    end
    for _, index in ipairs(group[2]) do
        answer[#answer + 1] = math.max(0, room(counts[index]))
        answer[#answer + 1] = seconds_to_one(counts[index])
        answer[#answer + 1] = seconds_to_all(counts[index])
    end
    for _, index in ipairs(group[3]) do
        local fitting = math.min(granted, math.max(0, math.floor(room(counts[index]) + SLACK)))
        if fitting > 0 then
            take(counts[index], fitting)
        end
        answer[#answer + 1] = granted - fitting
    end
end

for index, count in ipairs(counts) do
    if count.changed then
        -- A second more than it means something, against the rounding of clocks.
        local ttl = math.ceil(math.max(0, seconds_to_all(count)) * 1000) + 1000
        redis.call("SET", KEYS[index], struct.pack("<ddd", count.amount, count.at, count.before), "PX", ttl)
    end
end
return cjson.encode(answer)
