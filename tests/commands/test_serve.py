"""`relay serve`: with which status it ends, what is told on standard error, what is set up before the daemon runs."""

import errno
import gc
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import Result

from relay.commands import serve
from relay.daemon import daemon
from tests.support.commands import one_line, relay
from tests.support.daemons import AUTH_TOKEN, settings

Run = Callable[..., Any]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(settings())
    return path


@pytest.fixture(autouse=True)
def garbage_collection() -> Iterator[None]:
    """The command sets it for the rest of its process, which here is that of the tests."""
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)


def served(config: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> Result:
    """The command with this in place of the daemon."""

    async def run_daemon(*_: object) -> None:
        act()

    monkeypatch.setattr(serve, "run_daemon", run_daemon)
    return relay("serve", "--config", str(config))


def logged(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


def test_a_daemon_that_ends_is_status_0(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert served(config, monkeypatch, lambda: None).exit_code == 0


def test_a_crash_is_status_1_and_the_last_log_line_says_why(
    config: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def crash() -> None:
        raise RuntimeError("why")

    done = served(config, monkeypatch, crash)
    last = logged(capfd)[-1]

    assert done.exit_code == 1
    assert last["event"] == "daemon.failed"
    assert "why" in json.dumps(last)


def test_the_log_is_as_configured_and_knows_the_secrets_of_the_configuration(
    config: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config.write_text(settings() + '[logging]\nlevel = "warning"\n')

    def log() -> None:
        structlog.get_logger().info("not.shown")
        structlog.get_logger().warning("a.warning", note=f"with {AUTH_TOKEN} in it")

    served(config, monkeypatch, log)
    (line,) = logged(capfd)

    assert (line["event"], line["note"]) == ("a.warning", "with *** in it")


def test_what_is_loaded_before_the_daemon_runs_is_never_looked_through_again(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen: list[int] = []
    served(config, monkeypatch, lambda: frozen.append(gc.get_freeze_count()))

    assert frozen[0] > 10_000


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (errno.EACCES, 2),
        (errno.EAFNOSUPPORT, 2),
        (socket.EAI_NONAME, 2),
        (errno.EADDRINUSE, 1),
        (errno.EADDRNOTAVAIL, 1),
        (errno.EMFILE, 1),
        (socket.EAI_AGAIN, 1),
    ],
)
def test_only_an_address_that_an_operator_has_to_mend_is_status_2(
    number: int, status: int, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, "the reason")

    monkeypatch.setattr(daemon, "open_listener", fail)
    done = relay("serve", "--config", str(config))

    assert done.exit_code == status
    assert ("the reason" in done.stderr) == (status == 2)


def test_an_address_that_is_not_there_yet_is_status_1_and_one_log_line(
    config: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config.write_text(settings().replace("[server]", '[server]\nhost = "192.0.2.1"'))
    done = relay("serve", "--config", str(config))
    (line,) = logged(capfd)

    assert (done.exit_code, line["event"]) == (1, "daemon.not_started")
    assert line["error"].startswith(f"{config}: server.host is '192.0.2.1'")


def test_a_port_that_is_taken_is_status_1_and_one_log_line(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config.write_text(settings(port=taken.getsockname()[1]))
        done = relay("serve", "--config", str(config))
    (line,) = logged(capfd)

    assert (done.exit_code, line["event"]) == (1, "daemon.not_started")
    assert line["error"].startswith(f"{config}: server.port is")


def test_an_apology_that_cannot_be_played_is_status_2_and_one_line(config: Path) -> None:
    config.write_text(settings() + '[reconnect]\napology_file = "/nowhere.wav"\n')
    done = relay("serve", "--config", str(config))

    assert done.exit_code == 2
    assert f"{config}: reconnect.apology_file is '/nowhere.wav'" in one_line(done)
