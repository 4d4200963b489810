"""What Redis does in one step each, as Lua scripts. All keys begin with `ftpsvc:`.

| key | |
|---|---|
| `ftpsvc:runs` | the runs, each with when it was last heard of (a sorted set, in ms) |
| `ftpsvc:counts:RUN` | what that one has counted |
| `ftpsvc:sums` | the same of all together |
| `ftpsvc:blocked` | networks that an operator has banned, each with its end in ms, 0 for none |
| `ftpsvc:failures`, `ftpsvc:failed` | failed logins by address: how many, and when the last was |
| `ftpsvc:version` | how often bans or failures have changed |
| `ftpsvc:home:PATH` | what lies in a home: size, files, counted (in ms), changes |

Every script's first argument is the channel on which changes are told, its second the run that asks. Times are Redis'.
"""

from __future__ import annotations

from hashlib import sha1

from ftpsvc.usage import COMMITS, UPLOADS

#: For how many seconds what lies in a home is remembered when nobody has anything to do with it.
KEEP_HOME = 24 * 3600

_COMMON = """
local channel, run = ARGV[1], ARGV[2]
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function tell(news)
  news.by = run
  redis.call('PUBLISH', channel, cjson.encode(news))
end
"""

_COUNTING = f"""
local function told(key)
  return string.sub(key, 1, {len(UPLOADS)}) ~= '{UPLOADS}' and string.sub(key, 1, {len(COMMITS)}) ~= '{COMMITS}'
end
local function add(key, more)
  if more ~= 0 and redis.call('HINCRBY', 'ftpsvc:sums', key, more) <= 0 then redis.call('HDEL', 'ftpsvc:sums', key) end
end
local function put(key, own, before)
  local counts = 'ftpsvc:counts:' .. run
  if own > 0 then redis.call('HSET', counts, key, own) else redis.call('HDEL', counts, key) end
  add(key, own - before)
end
local function before(key)
  return tonumber(redis.call('HGET', 'ftpsvc:counts:' .. run, key) or '0')
end
local function is_known()
  return redis.call('ZSCORE', 'ftpsvc:runs', run)
end
local function forget(dead)
  local counts = redis.call('HGETALL', 'ftpsvc:counts:' .. dead)
  for at = 1, #counts, 2 do
    add(counts[at], -tonumber(counts[at + 1]))
    if string.sub(counts[at], 1, {len(UPLOADS)}) == '{UPLOADS}' then
      local home = 'ftpsvc:home:' .. string.sub(counts[at], {len(UPLOADS) + 1})
      if redis.call('EXISTS', home) == 1 then redis.call('HSET', home, 'counted', 0) end
    end
  end
  redis.call('DEL', 'ftpsvc:counts:' .. dead)
  redis.call('ZREM', 'ftpsvc:runs', dead)
  tell({{kind = 'gone', run = dead}})
end
"""

_BANS = """
local function changed(news)
  news.version = redis.call('INCR', 'ftpsvc:version')
  tell(news)
end
local function drop(source)
  redis.call('HDEL', 'ftpsvc:failures', source)
  redis.call('ZREM', 'ftpsvc:failed', source)
end
"""

_HOMES = f"""
local home = 'ftpsvc:home:' .. ARGV[3]
local function state()
  redis.call('EXPIRE', home, {KEEP_HOME})
  local found = redis.call('HMGET', home, 'size', 'files', 'counted', 'changes')
  if not found[1] then return nil end
  return {{tonumber(found[1]), tonumber(found[2]), tonumber(found[3]), tonumber(found[4])}}
end
local function grow(known, size, files)
  known[1] = math.max(known[1] + size, 0)
  known[2] = math.max(known[2] + files, 0)
  known[4] = known[4] + 1
  redis.call('HSET', home, 'size', known[1], 'files', known[2], 'changes', known[4])
end
"""


class Script:
    """One of them."""

    def __init__(self, *texts: str) -> None:
        self.text = "".join((_COMMON, *texts)).encode()
        self.name = sha1(self.text, usedforsecurity=False).hexdigest()  # what Redis calls it


# -- runs and counts

#: Be there from now on. All that there is to know: the time, the runs, the keys of which the run has counted some, and
#: what is said of bans.
JOIN = Script("""
redis.call('ZADD', 'ftpsvc:runs', now(), run)
tell({kind = 'come', run = run})
return {
  now(), redis.call('ZRANGE', 'ftpsvc:runs', 0, -1), redis.call('HKEYS', 'ftpsvc:counts:' .. run),
  tonumber(redis.call('GET', 'ftpsvc:version') or '0'),
  redis.call('HGETALL', 'ftpsvc:blocked'), redis.call('ZRANGE', 'ftpsvc:failed', 0, -1, 'WITHSCORES'),
  redis.call('HGETALL', 'ftpsvc:failures')
}
""")

#: What another run (3) has counted, of what is told.
COUNTS_OF = Script(
    _COUNTING,
    """
local found, counts = {}, redis.call('HGETALL', 'ftpsvc:counts:' .. ARGV[3])
for at = 1, #counts, 2 do
  if told(counts[at]) then
    found[#found + 1] = counts[at]
    found[#found + 1] = tonumber(counts[at + 1])
  end
end
return found
""",
)

#: Still be there; 0 if that was news, and all has to be told again. Forget runs that were silent for more ms than (3).
BEAT = Script(
    _COUNTING,
    """
local known, expire = is_known(), tonumber(ARGV[3])
redis.call('ZADD', 'ftpsvc:runs', now(), run)
if expire > 0 then
  for _, dead in ipairs(redis.call('ZRANGEBYSCORE', 'ftpsvc:runs', '-inf', now() - expire)) do forget(dead) end
end
return known and 1 or 0
""",
)

#: Forget a run (3), which has ended.
LEAVE = Script(_COUNTING, "forget(ARGV[3]) return 1")

#: What the run has counted of keys by now: (3) a key, (4) how many, and so on. -1 if it has to begin with all.
TOLD = Script(
    _COUNTING,
    """
if not is_known() then return -1 end
local news, some = {}, false
for at = 3, #ARGV, 2 do
  local own = tonumber(ARGV[at + 1])
  put(ARGV[at], own, before(ARGV[at]))
  if told(ARGV[at]) then news[ARGV[at]] = own; some = true end
end
if some then tell({kind = 'counts', run = run, counts = news}) end
return 1
""",
)

#: One more of a key (3), so that the run has (4), unless with that all have more than (5). Whether it was counted.
MORE = Script(
    _COUNTING,
    """
if not is_known() then return -1 end
local key, own, most, mine = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), before(ARGV[3])
local others = tonumber(redis.call('HGET', 'ftpsvc:sums', key) or '0') - mine
if most >= 0 and others + own > most then return 0 end
put(key, own, mine)
if told(key) then tell({kind = 'counts', run = run, counts = {[key] = own}}) end
return 1
""",
)

# -- bans

#: Ban a network (3) for (4) ms; -1: until it is taken back.
BLOCK = Script(
    _BANS,
    """
local lasts = tonumber(ARGV[4])
redis.call('HSET', 'ftpsvc:blocked', ARGV[3], lasts < 0 and 0 or now() + lasts)
local all = redis.call('HGETALL', 'ftpsvc:blocked')
for at = 1, #all, 2 do
  local over = tonumber(all[at + 1])
  if over > 0 and over < now() then redis.call('HDEL', 'ftpsvc:blocked', all[at]) end
end
changed({kind = 'blocked', network = ARGV[3], lasts = lasts})
""",
)

#: Take that back of a network (3).
UNBLOCK = Script(
    _BANS, "redis.call('HDEL', 'ftpsvc:blocked', ARGV[3]) changed({kind = 'unblocked', network = ARGV[3]})"
)

#: One more failed login from (3), if they are remembered for (4) ms and of (5) addresses. How many there are by now.
FAILED = Script(
    _BANS,
    """
local source, ban, time = ARGV[3], tonumber(ARGV[4]), now()
for _, old in ipairs(redis.call('ZRANGEBYSCORE', 'ftpsvc:failed', '-inf', time - ban, 'LIMIT', 0, 100)) do drop(old) end
if tonumber(redis.call('ZSCORE', 'ftpsvc:failed', source) or time) <= time - ban then drop(source) end
local count = redis.call('HINCRBY', 'ftpsvc:failures', source, 1)
redis.call('ZADD', 'ftpsvc:failed', time, source)
if redis.call('ZCARD', 'ftpsvc:failed') > tonumber(ARGV[5]) then
  drop(redis.call('ZRANGE', 'ftpsvc:failed', 0, 0)[1])
end
changed({kind = 'failed', source = source, count = count})
return count
""",
)

#: What a node has seen without Redis: (3) an address, (4) how many failed there, (5) ms since the last, and so on.
REMEMBER = Script(
    _BANS,
    """
for at = 3, #ARGV, 3 do
  local source, count = ARGV[at], tonumber(ARGV[at + 1])
  if count > tonumber(redis.call('HGET', 'ftpsvc:failures', source) or '0') then
    redis.call('HSET', 'ftpsvc:failures', source, count)
    redis.call('ZADD', 'ftpsvc:failed', now() - tonumber(ARGV[at + 2]), source)
    changed({kind = 'failed', source = source, count = count})
  end
end
""",
)

#: Forget the failed logins from (3), (4) and so on.
FORGIVE = Script(
    _BANS,
    """
for at = 3, #ARGV do
  drop(ARGV[at])
  changed({kind = 'forgiven', source = ARGV[at]})
end
""",
)

# -- homes

#: What lies in a home (3); nothing if nobody has counted it.
LOOK = Script(_HOMES, "return state()")

#: It was counted: (4) bytes and (5) files, from when it had changed (6) times. That counts if nothing has changed since
#: and nobody uploads, for nobody knows what of that is in it; or if there was no count. What it is by now.
LEARN = Script(
    _HOMES,
    f"""
local known, busy = state(), redis.call('HEXISTS', 'ftpsvc:sums', '{UPLOADS}' .. ARGV[3]) == 1
if not known or (known[4] == tonumber(ARGV[6]) and not busy) then
  local changes = known and known[4] or 0
  redis.call('HSET', home, 'size', ARGV[4], 'files', ARGV[5], 'counted', now(), 'changes', changes)
end
return state()
""",
)

#: Let it grow by (4) bytes and (5) files if it has not more than (8) and (9) then, -1 for any number; and by up to (6)
#: and (7) more, but a sixteenth of what is left, which the run may use without asking. What is said: 0, by how much it
#: has grown, and what it is; 1 or 2 if there would be too much of the one or the other; -1 if nobody has counted it.
CLAIM = Script(
    _HOMES,
    """
local known = state()
if not known then return {-1} end
local granted = {}
for at = 1, 2 do
  local need, ahead, most = tonumber(ARGV[3 + at]), tonumber(ARGV[5 + at]), tonumber(ARGV[7 + at])
  if most >= 0 and need > 0 and known[at] + need > most then return {at} end
  if most >= 0 then ahead = math.max(math.min(ahead, math.floor((most - known[at] - need) / 16)), 0) end
  granted[at] = need + ahead
end
grow(known, granted[1], granted[2])
return {0, granted[1], granted[2], known[1], known[2], known[3], known[4]}
""",
)

#: It has grown by (4) bytes and (5) files, or has become smaller. What it is by now, if somebody has counted it.
GROW = Script(
    _HOMES,
    """
local known = state()
if known then grow(known, tonumber(ARGV[4]), tonumber(ARGV[5])) end
return known
""",
)

#: A node had (4) bytes and (5) files there when it was alone, (6) and (7) of it since. To be counted again.
BACK = Script(
    _HOMES,
    """
local known, size, files = state(), tonumber(ARGV[6]), tonumber(ARGV[7])
if not known then
  redis.call('HSET', home, 'size', ARGV[4], 'files', ARGV[5], 'counted', 0, 'changes', 1)
elseif size ~= 0 or files ~= 0 then
  grow(known, size, files)
  redis.call('HSET', home, 'counted', 0)
end
return state()
""",
)

#: Somebody needs what others have claimed ahead in a home (3).
WANTED = Script("tell({kind = 'wanted', home = ARGV[3]})")

ALL = [value for value in list(globals().values()) if isinstance(value, Script)]
