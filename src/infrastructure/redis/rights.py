"""Check what the store lets this program's user do, and say what is missing in the words that grant it."""

from collections.abc import Awaitable, Sequence
from typing import cast

import redis.asyncio
from redis import exceptions

from infrastructure.redis.errors import StorePermissionDenied
from infrastructure.redis.url import StoreUrl

WORDS = """
del eval evalsha exec exists get hdel hexists hget hgetall hincrby hkeys hlen hmget hset hsetnx hvals incr info
lindex llen lpop lpush lrange lrem ltrim multi pexpire ping publish rpush sadd scan script|load set smembers spop
srem subscribe time type unlink unsubscribe xack xadd xclaim xdel xgroup|create xgroup|delconsumer xgroup|destroy
xgroup|setid xinfo|consumers xinfo|groups xinfo|stream xlen xpending xrange xread xreadgroup xrevrange xtrim zadd
zcard zrange zrangebylex zrangebyscore zrem zscore
"""
COMMANDS = tuple(WORDS.split())
"""All that the program sends and its scripts call. ``config|get`` is asked for too, and may be denied."""
KEYS, CHANNELS = "keys", "channels"
PROBE = """
local denied = {}
for i = 3, #ARGV do
  local words = {}
  for word in string.gmatch(ARGV[i], '[^|]+') do words[#words + 1] = word end
  if not redis.acl_check_cmd(unpack(words)) then denied[#denied + 1] = ARGV[i] end
end
if not redis.acl_check_cmd('EVAL', 'return 1', '1', ARGV[1]) then denied[#denied + 1] = 'keys' end
if not (redis.acl_check_cmd('PUBLISH', ARGV[2], 'x') and redis.acl_check_cmd('SUBSCRIBE', ARGV[2])) then
  denied[#denied + 1] = 'channels'
end
return denied
"""
"""Ask the server itself, which knows categories, patterns and selectors; nothing is written."""


def needed(url: StoreUrl, *, confirms: bool) -> list[str]:
    """Return the commands that the user must be allowed."""
    return [*COMMANDS, *(["select"] if url.database else []), *(["waitaof"] if confirms else [])]


async def check_rights(client: "redis.asyncio.Redis", url: StoreUrl, prefix: str, *, confirms: bool) -> None:
    """Raise ``StorePermissionDenied`` with what is missing and the command that grants it."""
    wanted = needed(url, confirms=confirms)
    key, channel = f"{prefix}:rights", f"{prefix}:rights"
    try:
        denied = await cast(Awaitable[list[str]], client.eval(PROBE, 0, key, channel, *wanted))
    except exceptions.NoPermissionError as error:
        raise denial(url, prefix, confirms=confirms, why=str(error)) from error
    if denied:
        raise StorePermissionDenied(
            address=url.address, why=f"not allowed are {', '.join(denied)}", mend=_grant(url, prefix, denied)
        )


def denial(url: StoreUrl, prefix: str, *, confirms: bool, why: str) -> StorePermissionDenied:
    """Return the error for a user that may not even ask what it may do: with all that is needed."""
    mend = _grant(url, prefix, [*needed(url, confirms=confirms), KEYS, CHANNELS])
    return StorePermissionDenied(address=url.address, why=why, mend=mend)


def _grant(url: StoreUrl, prefix: str, denied: Sequence[str]) -> str:
    words = [f"+{command}" for command in denied if command not in (KEYS, CHANNELS)]
    patterns = [f"{sign}{prefix}:*" for sign, what in (("~", KEYS), ("&", CHANNELS)) if what in denied]
    return " ".join(["ACL SETUSER", url.user or "default", *words, *patterns])
