"""The daemon's process: its log is read, its failure told, and it is never left behind."""

import os
import signal
from pathlib import Path

import pytest
import trio

from relay.demo.child import Daemon, open_daemon
from relay.demo.settings import Credentials, config_toml


def is_gone(daemon: Daemon) -> bool:
    try:
        os.kill(daemon.process.pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(config_toml("http://127.0.0.1:9", tmp_path), encoding="utf-8")
    return path


async def test_it_answers_when_entered_and_is_gone_when_left(config_file: Path) -> None:
    seen: list[str] = []
    async with open_daemon(config_file, Credentials().environ(), lambda record: seen.append(record["event"])) as daemon:
        assert daemon.is_ready
        host, port = daemon.url.removeprefix("http://").split(":")
        await (await trio.open_tcp_stream(host, int(port))).aclose()

    assert is_gone(daemon)
    assert daemon.exit_status == 0
    assert seen[0] == "daemon.ready"
    assert seen[-1] == "daemon.stopped"
    assert len(daemon.log) == len(seen)


async def test_a_daemon_that_cannot_start_says_why(config_file: Path) -> None:
    await trio.Path(config_file).write_text("[server]\nbogus = 1\n", encoding="utf-8")

    async with open_daemon(config_file, Credentials().environ(), lambda _: None) as daemon:
        assert not daemon.is_ready

    assert is_gone(daemon)
    assert daemon.exit_status == 2
    assert "bogus" in daemon.last_words


async def test_it_is_gone_after_a_cancellation(config_file: Path) -> None:
    running: list[Daemon] = []
    with trio.CancelScope() as scope:
        async with open_daemon(config_file, Credentials().environ(), lambda _: None) as daemon:
            running.append(daemon)
            scope.cancel()
            await trio.sleep_forever()

    assert is_gone(running[0])


async def test_one_that_does_not_end_is_killed(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.demo.child.STOP_S", 0.1)
    async with open_daemon(config_file, Credentials().environ(), lambda _: None) as daemon:
        os.kill(daemon.process.pid, signal.SIGSTOP)

    assert is_gone(daemon)
    assert daemon.exit_status == -signal.SIGKILL


async def test_it_is_the_program_that_starts_it_and_not_one_of_the_working_directory(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "relay").mkdir()
    (tmp_path / "relay" / "__init__.py").write_text("raise SystemExit('another one')")
    monkeypatch.chdir(tmp_path)

    async with open_daemon(config_file, Credentials().environ(), lambda _: None) as daemon:
        assert daemon.process.poll() is None


async def test_neither_a_proxy_nor_systemds_own_reach_it(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "https_proxy", "NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "RELAY_RECORD_KEY"):
        monkeypatch.setenv(name, "/nowhere")

    async with open_daemon(config_file, Credentials().environ(), lambda _: None) as daemon:
        environ = await trio.Path(f"/proc/{daemon.process.pid}/environ").read_bytes()

    assert b"/nowhere" not in environ
