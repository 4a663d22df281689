"""Keeps records in Redis, where the processes of several machines share them.

Redis runs scripts one at a time, which makes each operation atomic. A record and a lease are keys that expire by
themselves (Redis documentation, "Scripting with Lua", PEXPIREAT, SET with PX).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from relay.state.backend import LEASE_S, LETTER_KEPT_S, LETTERS_MAX, Claim, answer_in, answered, pending

_CALL = "relay:call:"
_OWNER = "relay:owner:"
_ASSISTANT_CALL = "relay:assistant-call:"
_LETTERS = "relay:letters:"
_ANSWER = "relay:answer:"
_ONE_MORE_TRY = 1
"""A connection that the server closed while it was idle is found out only by using it."""

# In all scripts: KEYS are the record and the asker's lease; ARGV begins with the asker's name and the lease in ms.
_MAY_HAVE = """
local owner = redis.call('HGET', KEYS[1], 'owner')
local mine = not owner or owner == ARGV[1] or redis.call('EXISTS', '%s' .. owner) == 0
""".replace("%s", _OWNER)
_RENEW = "redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])\n"
_SAVE = (
    _RENEW
    + _MAY_HAVE
    + """
if not mine then return 0 end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'record', ARGV[3])
redis.call('PEXPIREAT', KEYS[1], ARGV[4])
return 1
"""
)
_TAKE = (
    _RENEW
    + _MAY_HAVE
    + """
if not owner then return false end
mine = mine or ARGV[3] == '1'
if mine then redis.call('HSET', KEYS[1], 'owner', ARGV[1]) end
return {mine and 1 or 0, redis.call('HGET', KEYS[1], 'record')}
"""
)
_SWAP = (
    _RENEW
    + """
if redis.call('HGET', KEYS[1], 'record') ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'record', ARGV[4])
return 1
"""
)
_NOTE = """
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'call_sid', ARGV[2], 'whose', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
"""
_POST = f"""
local owner, call_sid = unpack(redis.call('HMGET', KEYS[1], 'owner', 'call_sid'))
if not owner then return end
owner = redis.call('HGET', '{_CALL}' .. call_sid, 'owner') or owner
if owner == ARGV[1] or redis.call('EXISTS', '{_OWNER}' .. owner) == 0 then return end
local waiting = '{_LETTERS}' .. owner
local thrown_away = redis.call('RPUSH', waiting, ARGV[2]) - {LETTERS_MAX}
redis.call('LTRIM', waiting, {-LETTERS_MAX}, -1)
redis.call('PEXPIRE', waiting, {round(LETTER_KEPT_S * 1000)})
return math.max(0, thrown_away)
"""
_DELETE = "if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then redis.call('DEL', KEYS[1]) end"


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


class RedisBackend:
    """A `Backend` in Redis. Every wait for the server ends after `timeout_s`.

    After an error the connection is opened again, and the name of the server looked up: what answers there may have
    become a replica, which takes no writes (Redis documentation, "Replication"), and the name another server's.

    `url` is `redis://HOST[:PORT][/DB]` or, over TLS with the peer's certificate checked, `rediss://`.
    """

    def __init__(
        self,
        owner: str,
        url: str,
        *,
        password: str | None = None,
        timeout_s: float = 1.0,
        lease_s: float = LEASE_S,
    ) -> None:
        self._owner = owner
        self._lease_ms = _ms(lease_s)
        self._client: Redis = Redis.from_url(
            url,
            password=password,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), _ONE_MORE_TRY),
        )
        self._save = self._client.register_script(_SAVE)
        self._take = self._client.register_script(_TAKE)
        self._swap = self._client.register_script(_SWAP)
        self._note = self._client.register_script(_NOTE)
        self._post = self._client.register_script(_POST)
        self._delete = self._client.register_script(_DELETE)

    def now(self) -> float:
        with self._operation() as client:
            seconds, microseconds = client.time()
        return float(seconds + microseconds / 1e6)

    def save(self, call_sid: str, record: bytes, expires_at: float) -> bool:
        arguments = [self._owner, self._lease_ms, record, round(expires_at * 1000)]
        return bool(self._run(self._save, call_sid, arguments) == 1)

    def load(self, call_sid: str) -> bytes | None:
        with self._operation() as client:
            record: Any = client.hget(_CALL + call_sid, "record")
        return bytes(record) if record is not None else None

    def take(self, call_sid: str, *, by_force: bool = False) -> Claim | None:
        found = self._run(self._take, call_sid, [self._owner, self._lease_ms, int(by_force)])
        if found is None:
            return None
        taken, record = found
        return Claim(bytes(record), taken == 1)

    def swap(self, call_sid: str, seen: bytes, record: bytes) -> bool:
        return bool(self._run(self._swap, call_sid, [self._owner, self._lease_ms, seen, record]) == 1)

    def owns(self, call_sids: Sequence[str]) -> list[bool | None]:
        with self._operation() as client:
            pipeline = client.pipeline(transaction=False)  # one round trip; each answer stands for itself
            for call_sid in call_sids:
                pipeline.hget(_CALL + call_sid, "owner")
            owners = pipeline.execute()
        return [None if owner is None else owner.decode() == self._owner for owner in owners]

    def delete(self, call_sid: str) -> None:
        self._run(self._delete, call_sid, [self._owner])

    def note(self, assistant_call_id: str, call_sid: str, whose: bytes, keep_s: float) -> None:
        with self._operation():
            arguments: list[Any] = [self._owner, call_sid, whose, round(keep_s * 1000)]
            self._note(keys=[_ASSISTANT_CALL + assistant_call_id], args=arguments)

    def whose(self, assistant_call_id: str) -> bytes | None:
        with self._operation() as client:
            found: Any = client.hget(_ASSISTANT_CALL + assistant_call_id, "whose")
        return bytes(found) if found is not None else None

    def post(self, letters: Sequence[tuple[str, bytes]]) -> int:
        with self._operation() as client:
            pipeline = client.pipeline(transaction=False)
            for assistant_call_id, letter in letters:
                self._post(keys=[_ASSISTANT_CALL + assistant_call_id], args=[self._owner, letter], client=pipeline)
            thrown_away = pipeline.execute()
        return sum(count or 0 for count in thrown_away)

    def letters(self) -> list[bytes]:
        with self._operation() as client:
            pipeline = client.pipeline(transaction=True)
            pipeline.lrange(_LETTERS + self._owner, 0, -1)
            pipeline.delete(_LETTERS + self._owner)
            found, _ = pipeline.execute()
        return [bytes(letter) for letter in found]

    def claim_question(self, question: str, hold_s: float) -> bool:
        mine = pending(self._owner)
        with self._operation() as client:
            # The client may have tried twice, the first time with success, and not have had the answer.
            return bool(client.set(_ANSWER + question, mine, nx=True, px=_ms(hold_s))) or self._kept(question) == mine

    def keep_answer(self, question: str, answer: bytes, keep_s: float) -> None:
        with self._operation() as client:
            client.set(_ANSWER + question, answered(answer), px=_ms(keep_s))

    def answer_to(self, question: str) -> bytes | None:
        with self._operation():
            return answer_in(self._kept(question))

    def _kept(self, question: str) -> bytes | None:
        found: Any = self._client.get(_ANSWER + question)
        return None if found is None else bytes(found)

    def beat(self) -> None:
        with self._operation() as client:
            client.set(_OWNER + self._owner, "1", px=self._lease_ms)

    def retire(self) -> None:
        with self._operation() as client:
            client.delete(_OWNER + self._owner)

    def close(self) -> None:
        self._client.close()

    def _run(self, script: Any, call_sid: str, arguments: list[Any]) -> Any:
        with self._operation():
            return script(keys=[_CALL + call_sid, _OWNER + self._owner], args=arguments)

    @contextmanager
    def _operation(self) -> Iterator[Redis]:
        try:
            yield self._client
        except RedisError:
            self._client.connection_pool.disconnect()
            raise
