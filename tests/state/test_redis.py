"""What only Redis does: its keys, which end by themselves, and what is done about a server that comes and goes."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from redis import ConnectionError as NoConnection
from redis import Redis, RedisError

from relay.state.backend import Claim
from relay.state.redis import RedisBackend
from tests.support.redis_server import RedisServer


@pytest.fixture
def looked_at(redis_server: RedisServer) -> Iterator[Any]:
    """The server as another client sees it."""
    with closing(Redis.from_url(redis_server.url)) as client:
        yield client


def later() -> float:
    return time.time() + 600


def test_keys_are_told_from_those_of_other_programs_and_end_by_themselves(
    redis_server: RedisServer, looked_at: Any
) -> None:
    with closing(RedisBackend("one", redis_server.url, lease_s=30)) as backend:
        backend.save("CA1", b"record", later())

    assert set(looked_at.keys()) == {b"relay:call:CA1", b"relay:owner:one"}
    assert looked_at.hgetall("relay:call:CA1") == {b"owner": b"one", b"record": b"record"}
    assert 590_000 < looked_at.pttl("relay:call:CA1") <= 600_000
    assert 25_000 < looked_at.pttl("relay:owner:one") <= 30_000


def test_a_record_that_changes_hands_still_ends_when_it_was_to_end(redis_server: RedisServer, looked_at: Any) -> None:
    with (
        closing(RedisBackend("one", redis_server.url)) as one,
        closing(RedisBackend("two", redis_server.url)) as two,
    ):
        one.save("CA1", b"record", later())
        two.take("CA1", by_force=True)
        one.swap("CA1", b"record", b"new")

    assert 590_000 < looked_at.pttl("relay:call:CA1") <= 600_000


def test_the_database_is_the_one_that_the_url_names(redis_server: RedisServer, looked_at: Any) -> None:
    with closing(RedisBackend("one", redis_server.url.removesuffix("/0") + "/3")) as backend:
        backend.save("CA1", b"record", later())

        assert backend.load("CA1") == b"record"
    assert looked_at.keys() == []


def test_a_connection_that_was_closed_while_idle_costs_nothing(redis_server: RedisServer, looked_at: Any) -> None:
    with closing(RedisBackend("one", redis_server.url, timeout_s=10)) as backend:
        backend.save("CA1", b"before", later())
        looked_at.client_kill_filter(_type="normal", skipme=True)

        assert backend.save("CA1", b"after", later())
        assert backend.load("CA1") == b"after"


def test_a_server_that_was_started_again_is_given_the_scripts_again(redis_server: RedisServer) -> None:
    """It has forgotten them, with all records."""
    with closing(RedisBackend("one", redis_server.url, timeout_s=10)) as backend:
        backend.save("CA1", b"before", later())
        redis_server.stop()
        redis_server.start()

        assert backend.load("CA1") is None
        assert backend.save("CA1", b"after", later())
        assert backend.take("CA1") == Claim(b"after", taken=True)


def test_a_server_that_is_down_is_an_error_of_the_client_library(redis_server: RedisServer) -> None:
    with closing(RedisBackend("one", redis_server.url, timeout_s=10)) as backend:
        redis_server.stop()

        with pytest.raises(NoConnection):
            backend.beat()


def test_the_name_of_an_owner_may_hold_anything_but_names_no_key(redis_server: RedisServer, looked_at: Any) -> None:
    with closing(RedisBackend("o' .. \"x", redis_server.url)) as backend:
        assert backend.save("CA1", b"\xff\x00", later())
        assert backend.owns(["CA1"]) == [True]
        backend.retire()

    assert looked_at.keys("relay:owner:*") == []


def test_after_a_failover_the_server_is_looked_up_again_and_written_to(
    redis_server: RedisServer, redis_replica: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old primary lives on as a replica, which answers reads and refuses writes on the connection that is open."""
    named, really = redis_server, socket.getaddrinfo

    def look_up(host: str, port: int, *more: Any, **options: Any) -> Any:
        return really(*(("127.0.0.1", named.port) if host == "store.test" else (host, port)), *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with closing(RedisBackend("one", "redis://store.test:6379/0", timeout_s=10)) as backend:
        backend.save("CA1", b"before", later())
        redis_replica.change_places(redis_server)
        for operation in (backend.beat, lambda: backend.save("CA1", b"lost", later())):
            with pytest.raises(RedisError, match=r"read.?only"):
                operation()
        named = redis_replica

        assert backend.save("CA1", b"after", later())
        assert backend.load("CA1") == b"after"
    with closing(Redis.from_url(redis_replica.url)) as client:
        assert client.hget("relay:call:CA1", "record") == b"after"
