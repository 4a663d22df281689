"""A real Redis for the tests that need one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis_server import RedisServer, free_port


@pytest.fixture
def stopped_redis(tmp_path: Path) -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server not installed")
    server = RedisServer(free_port(), tmp_path)
    yield server
    server.stop()


@pytest.fixture
def redis_server(stopped_redis: RedisServer) -> RedisServer:
    stopped_redis.start()
    return stopped_redis
