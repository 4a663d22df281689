"""From an address to an open store, or to the reason why there is none."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest
import structlog

from relay.errors import ConfigError, StateUnavailable
from relay.metrics import Metrics
from relay.state.opening import open_store
from tests.support.records import record
from tests.support.redis_server import RedisServer


@pytest.mark.parametrize("kind", ["memory:", "sqlite:", "sqlite:PATH", "redis:"])
async def test_every_kind_of_store_is_opened_by_its_url(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = (
        request.getfixturevalue("redis_server").url if kind == "redis:" else kind.replace("PATH", f"{tmp_path}/x/y.db")
    )
    kept = record()
    environ = {"STATE_DIRECTORY": str(tmp_path / "given")}
    async with open_store(url, Metrics(), environ=environ, timeout_s=20) as store:
        await store.save(kept)
        assert await store.load("CA1") == kept

    assert (tmp_path / "given" / "relay.db").exists() == (kind == "sqlite:")
    assert (tmp_path / "x" / "y.db").exists() == (kind == "sqlite:PATH")


async def test_two_stores_are_two_owners(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/relay.db"
    async with open_store(url, Metrics(), timeout_s=20) as one, open_store(url, Metrics(), timeout_s=20) as two:
        await one.save(record())
        assert await two.take("CA1") is None
        await one.retire()
        assert await two.take("CA1") is not None


async def test_a_file_that_cannot_be_used_is_said_and_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    path.mkdir()
    with structlog.testing.capture_logs() as logs:
        async with open_store(f"sqlite:{path}", Metrics(), timeout_s=20) as store:
            states = [store.failing]
            path.rmdir()
            await store.beat()
            states.append(store.failing)

    assert states == [True, False]
    assert [line["event"] for line in logs] == ["state.unavailable", "state.recovered"]
    assert "directory" in logs[0]["error"]


async def test_a_broken_file_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "relay.db").write_bytes(b"something else entirely" * 100)
    with structlog.testing.capture_logs() as logs:
        async with open_store(f"sqlite:{tmp_path}/relay.db", Metrics(), timeout_s=20) as store:
            await store.save(record())

    assert [line["event"] for line in logs] == ["state.set_aside", "state.unavailable", "state.recovered"]


async def test_an_unknown_kind_refuses_to_start() -> None:
    with pytest.raises(ConfigError, match="must begin with memory:"):
        async with open_store("postgres://127.0.0.1", Metrics()):
            pass


async def test_a_server_that_is_down_is_said_and_asked_again(stopped_redis: RedisServer) -> None:
    with structlog.testing.capture_logs() as logs:
        async with open_store(stopped_redis.url, Metrics(), timeout_s=20) as store:
            with pytest.raises(StateUnavailable):
                await store.save(record())
            stopped_redis.start()
            await store.save(record())
            stopped_redis.stop()
            with pytest.raises(StateUnavailable):
                await store.load("CA1")
            stopped_redis.start()
            assert await store.load("CA1") is None

    assert [line["event"] for line in logs] == ["state.unavailable", "state.recovered"] * 2
    assert logs[0]["error"] == "ConnectionError"


async def test_a_password_is_given_and_a_wrong_one_is_not_told(stopped_redis: RedisServer) -> None:
    stopped_redis.start("--requirepass", "the-right-password")
    async with open_store(stopped_redis.url, Metrics(), password="the-right-password", timeout_s=20) as store:
        await store.save(record())
    with structlog.testing.capture_logs() as logs:
        async with open_store(stopped_redis.url, Metrics(), password="wrong-password", timeout_s=20) as store:
            with pytest.raises(StateUnavailable, match="AuthenticationError"):
                await store.load("CA1")

    assert [line["error"] for line in logs] == ["AuthenticationError"]
    assert "wrong-password" not in repr(logs)


def certificate(folder: Path) -> list[str]:
    """A certificate for localhost, signed by itself, as the options of the server."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl not installed")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return ["--tls-cert-file", str(cert), "--tls-key-file", str(key), "--tls-auth-clients", "no"]


async def test_over_tls_the_certificate_of_the_server_is_checked(stopped_redis: RedisServer, tmp_path: Path) -> None:
    options = certificate(tmp_path)
    stopped_redis.start("--port", "0", "--tls-port", str(stopped_redis.port), *options)
    trusted = f"rediss://localhost:{stopped_redis.port}/0?ssl_ca_certs={options[1]}"
    async with open_store(trusted, Metrics(), timeout_s=20) as store:
        await store.save(record())
    for url in (f"rediss://localhost:{stopped_redis.port}/0", trusted.replace("localhost", "127.0.0.1")):
        async with open_store(url, Metrics(), timeout_s=20) as store:
            with pytest.raises(StateUnavailable):
                await store.load("CA1")


async def test_a_server_that_accepts_and_says_nothing_costs_no_more_than_the_time_out(
    stopped_redis: RedisServer,
) -> None:
    stopped_redis.start()
    assert stopped_redis.process is not None
    stopped_redis.process.send_signal(19)  # SIGSTOP: the kernel goes on to accept
    began = time.monotonic()
    async with open_store(stopped_redis.url, Metrics(), timeout_s=0.2) as store:
        with pytest.raises(StateUnavailable):
            await store.load("CA1")
    stopped_redis.process.send_signal(18)

    assert time.monotonic() - began < 20
