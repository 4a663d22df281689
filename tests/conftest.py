"""Fixtures and settings that every test shares."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from tests.support.redis_server import RedisServer, free_port

REPOSITORY = Path(__file__).resolve().parent.parent

# No example has a time limit: machines that run the tests are loaded by others. In CI the examples never change.
settings.register_profile("dev", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

TOGETHER = {"bench", "vad", "web"}
"""Folders whose tests share what is expensive to make: a browser, a measurement."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Of several processes one runs all of such a folder, and any other test goes to the next that is free."""
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = _kept_together
    return scheduler


def _kept_together(test: str) -> str:
    folder = Path(test.partition("::")[0]).parent.name
    return folder if folder in TOGETHER else test


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings: $RELAY_AUDIO_DIR, by default ../shared/audio beside the repository."""
    folder = Path(os.environ.get("RELAY_AUDIO_DIR") or REPOSITORY.parent / "shared" / "audio")
    if not any(folder.glob("*.wav")):
        pytest.skip("recordings not present")
    return folder


@pytest.fixture
def stopped_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A real Redis, for tests that start and stop it."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server not installed")
    server = RedisServer(free_port(), tmp_path)
    yield server
    server.stop()


@pytest.fixture
def redis_server(stopped_redis: RedisServer) -> RedisServer:
    stopped_redis.start()
    return stopped_redis
