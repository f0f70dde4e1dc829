"""Check what the store lets this program's user do, and say what is missing in the words that grant it."""

from collections.abc import Awaitable, Sequence
from typing import cast

import redis.asyncio
from redis import exceptions

from infrastructure.redis.errors import NotARedis, StorePermissionDenied
from infrastructure.redis.url import StoreUrl

CALLS = """
del K; eval s 0; evalsha s 0; exec; exists K; get K; hdel K f; hexists K f; hget K f; hgetall K; hincrby K f 1;
hkeys K; hlen K; hmget K f; hset K f v; hsetnx K f v; hvals K; incr K; info; lindex K 0; llen K; lpop K; lpush K v;
lrange K 0 1; lrem K 0 v; ltrim K 0 1; multi; pexpire K 1; ping; publish C m; pubsub|numsub C; rpush K v; sadd K v;
scan 0; scard K; script|load s; set K v; sismember K v; smembers K; spop K; srem K v; subscribe C; time; type K;
unlink K; unsubscribe; xack K g 1-1; xadd K * f v; xclaim K g c 0 1-1; xdel K 1-1; xgroup|create K g $;
xgroup|delconsumer K g c; xgroup|destroy K g; xgroup|setid K g $; xinfo|consumers K g; xinfo|groups K; xinfo|stream K;
xlen K; xpending K g; xrange K - +; xread STREAMS K $; xreadgroup GROUP g c STREAMS K >; xrevrange K + -;
xtrim K MAXLEN 1; zadd K 1 m; zcard K; zpopmin K; zrange K 0 1; zrangebylex K - +; zrangebyscore K 0 1; zrem K m;
zremrangebyscore K 0 1; zrevrange K 0 1; zrevrank K m; zmscore K m; zscore K m
"""
"""All that the program sends and its scripts call, with a key (K), a channel (C), and as many words as each must have:
asked about a command with too few, Valkey 9.1 dies. ``config|get`` is sent too, and may be denied."""
COMMANDS = tuple(call.split()[0] for call in CALLS.split(";"))
KEYS, CHANNELS = "keys", "channels"
PROBE = """
local denied, unknown, unsure = {}, {}, {}
local function is_about_keys(said)
  for _, words in ipairs({'a key', "' key", 'the keys'}) do
    if string.find(said, words, 1, true) then return true end
  end
end
local function words_of(call)
  local words = {}
  for word in string.gmatch(call, '[^ ]+') do
    words[#words + 1] = word == 'K' and ARGV[1] or word == 'C' and ARGV[1] or word
  end
  return words
end
if not redis.acl_check_cmd('EVAL', 's', '1', ARGV[1]) then denied[#denied + 1] = 'keys' end
for i = 2, #ARGV, 2 do
  local words = words_of(ARGV[i + 1])
  local is_known, is_allowed = pcall(redis.acl_check_cmd, unpack(words))
  if not is_known then
    unknown[#unknown + 1] = ARGV[i]
  elseif not is_allowed then
    local said = redis.pcall(unpack(words)).err or ''
    if string.find(said, 'channel', 1, true) then
      unsure[1] = 'channels'
    elseif not is_about_keys(said) then
      denied[#denied + 1] = ARGV[i]
      if ARGV[i] == 'publish' then unsure[1] = 'channels' end
    end
  end
end
if unsure[1] and not redis.acl_check_cmd('SUBSCRIBE', ARGV[1]) then denied[#denied + 1] = 'channels' end
return {denied, unknown}
"""
"""Ask the server itself, which knows categories, patterns and selectors. What is denied is sent, to hear why: nothing
is written. A script may not send SUBSCRIBE: where channels are denied, it counts as denied with them, and granting it
twice does no harm."""


def needed(url: StoreUrl, *, confirms: bool) -> list[str]:
    """Return the calls that the user must be allowed, as ``CALLS`` has them."""
    more = [*(["select 0"] if url.database else []), *(["waitaof 1 0 1"] if confirms else [])]
    return [*(call.strip() for call in CALLS.split(";")), *more]


async def check_rights(client: "redis.asyncio.Redis", url: StoreUrl, prefix: str, *, confirms: bool) -> None:
    """Raise ``StorePermissionDenied`` with what is missing and the command that grants it.

    Raises ``NotARedis`` for a server that lacks a command. Whether it has WAITAOF is found out by using it.
    """
    words: list[str] = []
    for call in needed(url, confirms=confirms):
        name, _, rest = call.partition(" ")
        words += [name, f"{name.replace('|', ' ')} {rest}"]
    try:
        denied, unknown = await cast(
            Awaitable[tuple[list[str], list[str]]], client.eval(PROBE, 0, f"{prefix}:rights", *words)
        )
    except exceptions.NoPermissionError as error:
        raise denial(url, prefix, confirms=confirms, why=str(error)) from error
    if lacking := set(unknown) - {"waitaof"}:
        why = f"it has no {', '.join(sorted(lacking))} (did a rename-command take that away?)"
        raise NotARedis(address=url.address, why=why)
    if denied:
        why = f"not allowed are {', '.join(denied)}"
        raise StorePermissionDenied(address=url.address, why=why, mend=_grant(url, prefix, denied))


def denial(url: StoreUrl, prefix: str, *, confirms: bool, why: str) -> StorePermissionDenied:
    """Return the error for a user that may not even ask what it may do: with all that is needed."""
    commands = [call.split()[0] for call in needed(url, confirms=confirms)]
    mend = _grant(url, prefix, [*commands, KEYS, CHANNELS])
    return StorePermissionDenied(address=url.address, why=why, mend=mend)


def _grant(url: StoreUrl, prefix: str, denied: Sequence[str]) -> str:
    words = [f"+{command}" for command in denied if command not in (KEYS, CHANNELS)]
    patterns = [f"{sign}{prefix}:*" for sign, what in (("~", KEYS), ("&", CHANNELS)) if what in denied]
    return " ".join(["ACL SETUSER", url.user or "default", *words, *patterns])
