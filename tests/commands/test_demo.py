"""`relay demo`: what it prints, and with which status it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from relay.commands import demo
from relay.demo.evidence import Evidence
from relay.demo.promise import Promise
from relay.demo.reconnect import RECONNECT_FIGURES
from relay.demo.screen import Screen
from relay.demo.stage import Performance
from relay.demo.verdict import FIGURES, DemoVerdict
from tests.support.commands import one_line, relay
from tests.support.daemons import environment

Perform = Callable[[Screen, Path], Any]

TALKS_WITHOUT_END = """
import trio
from relay.cli import main
from relay.commands import demo

async def perform(screen, folder):
    while True:
        screen.say("something happens")
        await trio.lowlevel.checkpoint()

demo.perform = perform
main()
"""
"""A process of its own: what ends it closes its standard output."""


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Perform, DemoVerdict], None]:
    """Puts another performance and verdict in the place of the real ones."""

    def put(perform: Perform, verdict: DemoVerdict) -> None:
        monkeypatch.setattr(demo, "perform", perform)
        monkeypatch.setattr(demo, "judge", lambda _: verdict)

    return put


async def nothing(_screen: Screen, _folder: Path) -> Performance:
    return Performance(evidence=Evidence(broken=None, stood_still_ms=120.0), log=["{}"])


def verdict(*kept: bool | None) -> DemoVerdict:
    return DemoVerdict(
        [Promise(f"promise {i}", value, "7 ms") for i, value in enumerate(kept)], dict.fromkeys(FIGURES, 1.0)
    )


def run(*args: str) -> tuple[int, str, str]:
    done = relay("demo", *args)
    return done.exit_code, done.stdout, done.stderr


def test_json_is_one_object_and_nothing_else(use: Callable[..., None], tmp_path: Path) -> None:
    use(nothing, verdict(True, None))

    status, out, err = run("--json", "--out", str(tmp_path / "out"))

    value = json.loads(out)
    assert (status, err) == (0, "")
    assert set(value) == {"ok", "bargein", "reconnect", "files"}
    assert tuple(value["reconnect"]) == RECONNECT_FIGURES
    assert value["ok"] is True
    assert set(value["bargein"]) == set(FIGURES)
    assert all(Path(file).is_file() for file in value["files"].values())


def test_a_broken_promise_is_status_1_and_named(use: Callable[..., None], tmp_path: Path) -> None:
    use(nothing, verdict(True, False))

    status, out, err = run("--json", "--out", str(tmp_path))
    assert (status, json.loads(out)["ok"]) == (1, False)
    assert err == "relay: broken: promise 1: 7 ms\n"

    status, out, _ = run("--out", str(tmp_path))
    assert status == 1
    assert "Broken: promise 1\n" in out
    assert "too busy" in out


def test_a_good_end_says_so_and_names_the_files(use: Callable[..., None], tmp_path: Path) -> None:
    use(nothing, verdict(True))

    status, out, _ = run("--out", str(tmp_path))

    assert status == 0
    assert out.endswith("Every promise was kept.\n")
    assert str(tmp_path / "relay.jsonl") in out


def test_a_folder_that_cannot_be_written_is_wrong_use(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")

    done = relay("demo", "--out", str(in_the_way))

    assert done.exit_code == 2
    assert one_line(done).startswith(f"relay: --out {in_the_way} cannot be written to")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_its_status(use: Callable[..., None], tmp_path: Path, number: signal.Signals) -> None:
    cleaned_up: list[bool] = []

    async def interrupted(_screen: Screen, _folder: Path) -> Performance:
        os.kill(os.getpid(), number)
        try:
            await trio.sleep_forever()
        finally:
            cleaned_up.append(True)

    use(interrupted, verdict(True))

    assert run("--out", str(tmp_path))[0] == 128 + number
    assert cleaned_up == [True]


def test_when_nobody_reads_any_more_it_ends_quietly_as_by_sigpipe(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TALKS_WITHOUT_END, "demo", "--out", str(tmp_path)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        first = run.stdout.readline()
        run.stdout.close()
        errors = run.stderr.read()

    assert first.startswith("relay demo: starting")
    assert (run.returncode, errors) == (128 + signal.SIGPIPE, "")
