"""Fixtures and settings that every test shares."""

import gc
import os
import shutil
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.ports import free_port
from tests.support.redis_server import RedisServer

REPOSITORY = Path(__file__).resolve().parent.parent

# No example has a time limit: machines that run the tests are loaded by others. In CI the examples never change.
settings.register_profile("dev", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# A shell that starts the tests in the background has these ignored, and so would every process that a test signals.
for number in (signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

YOUNG_OBJECTS = 10_000
"""So many more objects than before, and the collector looks through the youngest. A simulated call has Python's own 700
soon, and makes few cycles."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """The garbage collector leaves alone what lives to the end: the modules and the tests, 770,000 objects. To look
    through them took a tenth of the suite's CPU."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
        gc.collect()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    """Behind each file garbage is collected, which may warn, and the rest is left alone: what it has loaded stays."""
    yield
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings: $RELAY_AUDIO_DIR, by default ../shared/audio beside the repository."""
    folder = Path(os.environ.get("RELAY_AUDIO_DIR") or REPOSITORY.parent / "shared" / "audio")
    if not any(folder.glob("*.wav")):
        pytest.skip("recordings not present")
    return folder


@pytest.fixture(scope="session")
def interruptions(recordings: Path) -> Path:
    """The folder of coughs, words and digits over the telephone, beside the recordings."""
    folder = recordings.parent / "audio_interrupt"
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


@pytest.fixture
def redis_replica(redis_server: RedisServer, tmp_path: Path) -> Iterator[RedisServer]:
    """Another, that follows `redis_server`."""
    (tmp_path / "replica").mkdir()
    replica = RedisServer(free_port(), tmp_path / "replica")
    replica.follow(redis_server)
    yield replica
    replica.stop()
