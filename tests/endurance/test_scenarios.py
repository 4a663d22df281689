"""Scenarios as operators play them, in real time: the commands of docs/scenarios.md; and whole calls with real coughs.

The coughs are those of `audio_interrupt`, beside the recordings of $RELAY_AUDIO_DIR. $ENDURANCE_COUGHS says how many
(`make endurance`: 60); without it there are four.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from relay.standin.assistant import Behaviour, open_assistant
from relay.standin.assistant.acts import Act
from relay.standin.compare import audible_frames
from tests.support.daemons import PUBLIC, RELAY, VAPI_KEY, environment, running_daemon, settings
from tests.support.quick import quick_clock
from tests.support.scenarios import ALLOWED, NUMBER, SCENARIOS, play, quick_relay

AT_A_TIME = 6
ATTEMPTS = {"echo": 2}
"""There a single word interrupts an assistant that comes back as an echo. In real time three of a hundred such words
are believed too late, with the next ones (docs/measurements.md). All others are played once."""
MOST_COUGHS_THAT_CUT = 0.3
"""Of 16 coughs of telephone calls 2 cut the assistant when this was written."""
COUGH = """
expect answer within 5 s
expect silence for 1 s within 10 s
say request
expect speech for 2 s within 10 s
cough with "{file}"
wait 3 s
"""


@pytest.fixture
def clock() -> MockClock:
    return quick_clock()


@pytest.fixture
def coughs(recordings: Path, tmp_path: Path) -> list[Path]:
    """Single coughs of telephone calls, spread over all that there are."""
    folder = recordings.parent / "audio_interrupt"
    if not (folder / "labels.json").exists():
        pytest.skip("recordings of coughs not present")
    labels = json.loads((folder / "labels.json").read_text())
    (recording,) = (entry for entry in labels["files"] if entry["file"] == "coughs_phone_a.wav")
    samples, rate_hz = soundfile.read(folder / recording["file"], dtype="int16")
    clips = [samples[round(a * rate_hz) : round(b * rate_hz)] for a, b in recording["clips"]]
    loud = [clip for clip in clips if audible_frames(clip)]
    files = []
    for number in np.linspace(0, len(loud) - 1, int(os.environ.get("ENDURANCE_COUGHS", "4")), dtype=int):
        files.append(tmp_path / f"cough-{number}.wav")
        soundfile.write(files[-1], loud[number], rate_hz)
    return files


async def test_real_coughs_seldom_cut_the_assistant(
    clock: MockClock, coughs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = trio.CapacityLimiter(AT_A_TIME)

    async def cough(file: Path) -> None:
        async with places:
            *before, _ = (await play(url, COUGH.format(file=file))).outcomes
            assert all(outcome.passed for outcome in before)

    with capture_logs() as lines:
        async with (
            quick_relay(Behaviour(detect_after_ms=1500), tmp_path, monkeypatch) as (url, _),
            trio.open_nursery() as nursery,
        ):
            for file in coughs:
                nursery.start_soon(cough, file)
    cuts = sum(line["event"] == "bargein.flushed" and line["by"] == "caller" for line in lines)
    print(f"\nscenarios: {cuts} of {len(coughs)} coughs cut the assistant")
    assert cuts <= MOST_COUGHS_THAT_CUT * len(coughs)


async def test_the_scenarios_are_passed_in_real_time_too() -> None:
    """One after the other, in processes of their own: the telephone needs a core to itself."""
    files = set(SCENARIOS.glob("*.scenario"))
    transfers = {file for file in files if file.stem == "transfer"}
    stays = Behaviour(detect_after_ms=700)
    leaves = replace(stays, acts=(Act("dial", NUMBER),))

    assert await failed(files - transfers, stays) == []
    assert await failed(transfers, leaves, ALLOWED) == []


async def failed(files: Iterable[Path], behaviour: Behaviour, more: str = "") -> list[str]:
    """Which of these scenarios a call with such an assistant does not pass, in as many calls as `ATTEMPTS` says."""
    names = []
    async with (
        open_assistant(key=VAPI_KEY, behaviour=behaviour) as assistant,
        running_daemon(settings(assistant.base_url) + more) as daemon,
    ):
        for file in sorted(files):
            command = [*RELAY, "call", daemon.url, "--public-url", PUBLIC, "--scenario", str(file)]
            for _ in range(ATTEMPTS.get(file.stem, 1)):
                done = await trio.run_process(command, capture_stdout=True, check=False, env=environment())
                print(f"\n{done.stdout.decode()}")
                if not done.returncode:
                    break
            else:
                names.append(file.stem)
    return names
