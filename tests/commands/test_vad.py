"""`relay vad`: what is printed, drawn and refused."""

import json
import re
import struct
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from relay.media.wav import decode_wav
from relay.standin import phrases
from tests.support.commands import one_line, relay
from tests.support.recordings import KINDS, chunk, layout, riff, sine, wav

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = chunk(b"data", bytes(64))
SECOND = np.random.default_rng(3).normal(0, 10, 16000).astype("<i2")


def relay_vad(*arguments: str | Path) -> Result:
    return relay("vad", *map(str, arguments))


def write_wav(path: Path, data: bytes, rate_hz: int = 16000, channels: int = 1, sample_bytes: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(sample_bytes)
        file.setframerate(rate_hz)
        file.writeframes(data)
    return path


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    """A phrase between two seconds of a quiet room."""
    samples = np.concatenate((SECOND, phrases.phrase("stop").samples.astype("<i2"), SECOND))
    return write_wav(tmp_path / "spoken.wav", samples.tobytes())


@pytest.fixture
def room(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "room.wav", SECOND.tobytes())


def refusal(done: Result) -> str:
    """What is told, in one line, of a wrong use."""
    assert done.exit_code == 2
    return one_line(done)


def test_json_is_one_object_with_the_files_in_their_order(spoken: Path, room: Path) -> None:
    done = relay_vad(room, spoken, "--json")
    silent, found = json.loads(done.stdout)["files"]

    assert (done.exit_code, done.stderr) == (0, "")
    assert silent == {"file": str(room), "duration_s": 1.0, "segments": [], "starts": []}
    assert set(found) == {"file", "duration_s", "segments", "starts"}
    assert found["file"] == str(spoken)
    assert found["segments"][0][0] == pytest.approx(1.0, abs=0.1)
    start = found["starts"][0]
    assert set(start) == {"onset_s", "decided_s", "ducked_s"}
    assert start["onset_s"] <= start["ducked_s"] < start["decided_s"] < 1.4


def test_a_file_keeps_the_name_it_was_given(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(room.parent)

    assert json.loads(relay_vad("./room.wav", "--json").stdout)["files"][0]["file"] == "./room.wav"


def test_telephone_recordings_are_taken_as_they_are(tmp_path: Path) -> None:
    samples = np.concatenate((SECOND[::2], phrases.phrase("stop").samples[::2].astype("<i2"), SECOND[::2]))
    path = write_wav(tmp_path / "tel.wav", samples.tobytes(), 8000)

    assert json.loads(relay_vad(path, "--json").stdout)["files"][0]["starts"]


def test_a_picture_that_cannot_be_drawn_here_is_refused_at_once_with_the_extra_that_draws(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "relay.vad.plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    done = relay_vad(room, "--plot", tmp_path / "room.png")

    assert refusal(done) == (
        'relay: --plot needs matplotlib, which is not installed: install relay with its extra "plot"\n'
    )


@pytest.mark.parametrize("kind", KINDS)
def test_speech_is_found_in_every_kind_of_recording(spoken: Path, tmp_path: Path, kind: str) -> None:
    """Stereo, at 32 kHz, with the sizes of a streaming tool."""
    samples = np.repeat(decode_wav(spoken.read_bytes()).samples / 32768, 2)
    path = tmp_path / "other.wav"
    path.write_bytes(wav(np.stack((samples, samples), axis=1), 32000, kind, size=0xFFFFFFFF))
    plain, other = json.loads(relay_vad(spoken, path, "--json").stdout)["files"]

    assert other["duration_s"] == pytest.approx(plain["duration_s"], abs=0.001)
    assert np.array(other["segments"]) == pytest.approx(np.array(plain["segments"]), abs=0.1)


def test_text_says_when_speech_was_and_how_soon_it_was_known(spoken: Path, room: Path) -> None:
    lines = relay_vad(spoken, room).stdout.splitlines()

    assert lines[0].startswith(f"{spoken}: ")
    assert "ducked after" in lines[1]
    assert lines[-2:] == [f"{room}: 1.000 s, 16000 Hz", "  no speech"]


def test_a_higher_threshold_decides_later(spoken: Path) -> None:
    low, high = (
        json.loads(relay_vad(spoken, "--json", "--threshold", threshold).stdout)["files"][0]["starts"][0]["decided_s"]
        for threshold in ("0.3", "0.9")
    )

    assert low < high


def test_noise_reduction_is_part_of_what_is_heard(spoken: Path) -> None:
    plain, cleaned = (
        json.loads(relay_vad(spoken, "--json", *option).stdout)["files"][0] for option in ([], ["--noise-reduction"])
    )

    assert plain["starts"] != cleaned["starts"]
    assert cleaned["segments"][0][0] == pytest.approx(plain["segments"][0][0], abs=0.1)


def test_one_recording_is_drawn_into_the_file_that_was_named(room: Path, tmp_path: Path) -> None:
    """Whatever its suffix, it is a PNG."""
    done = relay_vad(room, "--plot", tmp_path / "picture")

    assert done.exit_code == 0
    assert (tmp_path / "picture").read_bytes().startswith(b"\x89PNG")


def test_several_recordings_are_drawn_into_a_file_each(room: Path, tmp_path: Path) -> None:
    """Named after them; equal names are told apart."""
    (tmp_path / "other").mkdir()
    namesake = write_wav(tmp_path / "other" / "room.wav", SECOND.tobytes())
    done = relay_vad(room, namesake, "--plot", tmp_path / "out.png", "--json")

    assert json.loads(done.stdout)["files"][1]["file"] == str(namesake)
    assert {path.name for path in tmp_path.glob("*.png")} == {"out-room.png", "out-room-2.png"}


BROKEN: dict[str, Callable[[Path], object]] = {
    "2000 Hz, wanted": lambda path: write_wav(path, bytes(64), 2000),
    "no sample": lambda path: write_wav(path, b""),
    "no WAV file": lambda path: path.write_text("RIFF and nothing else"),
    "cut short": lambda path: path.write_bytes(wav(sine(16000), 16000)[:-2]),
    "contradicts itself": lambda path: path.write_bytes(riff(chunk(b"fmt ", layout(1, 1, 8000, 16, block=4)), DATA)),
    "ADPCM": lambda path: path.write_bytes(riff(chunk(b"fmt ", layout(2, 1, 8000, 4)), DATA)),
    "cannot be read: Is a directory": lambda path: path.mkdir(),
    "cannot be read: No such file": lambda path: None,
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("option", [None, "--calibrate"])
def test_what_is_no_good_recording_is_refused_by_name(tmp_path: Path, what: str, option: str | None) -> None:
    path = tmp_path / "bad.wav"
    BROKEN[what](path)
    line = refusal(relay_vad(*([option] if option else []), path, "--json"))

    assert str(path) in line
    assert what in line


def test_a_recording_that_was_cut_short_is_refused(room: Path) -> None:
    room.write_bytes(room.read_bytes()[:-1000])

    assert "room.wav: cut short, 15500 of 16000 samples" in refusal(relay_vad(room))


def test_a_recording_that_is_far_too_long_is_refused_unread(room: Path) -> None:
    header = bytearray(room.read_bytes()[:44])
    header[40:44] = struct.pack("<I", 2**31 - 256)
    with room.open("wb") as file:
        file.write(header)
        file.truncate(2**31)  # a hole: takes no room on the disk

    assert "at most 230 (2 hours" in refusal(relay_vad(room))


def test_nothing_is_printed_if_one_of_the_files_is_bad(room: Path, tmp_path: Path) -> None:
    assert "nowhere.wav" in refusal(relay_vad(room, tmp_path / "nowhere.wav", "--json"))


def test_a_picture_that_cannot_be_written_is_wrong_use(room: Path, tmp_path: Path) -> None:
    assert "--plot" in refusal(relay_vad(room, "--plot", tmp_path / "none" / "x.png"))
    assert "--plot" in refusal(relay_vad(room, "--plot", tmp_path))


def test_a_quiet_room_is_calibrated(room: Path) -> None:
    told = relay_vad("--calibrate", room)
    as_json = json.loads(relay_vad("--calibrate", room, "--json").stdout)

    assert told.exit_code == 0
    assert "[vad] threshold = 0.5" in told.stdout
    assert as_json["quiet_threshold"] == 0.5
    assert [cost["threshold"] for cost in as_json["costs"]] == [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def test_files_and_rooms_are_judged_with_the_model_at_either_rate(spoken: Path, room: Path) -> None:
    for arguments in ((spoken,), ("--calibrate", room)):
        plain, narrow = (
            json.loads(relay_vad(*arguments, "--json", *rate).stdout) for rate in ([], ["--model-rate", "8000"])
        )
        assert narrow != plain


def test_a_room_in_which_somebody_speaks_has_no_threshold(spoken: Path) -> None:
    done = relay_vad("--calibrate", spoken)

    assert done.exit_code == 1
    assert "No threshold keeps this room quiet" in done.stdout


def test_a_room_is_heard_for_a_second_at_least(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "blink.wav", bytes(2000))

    assert "blink.wav: 0.06 s, wanted a quiet room for at least 1 s" in refusal(relay_vad("--calibrate", path))


@pytest.fixture
def folder(spoken: Path) -> Path:
    """With a quiet room, as it takes no time."""
    labels = [{"file": "spoken.wav", "duration_s": 3.346, "kind": "speech", "speech": [[1.0, 2.5]]}]
    (spoken.parent / "labels.json").write_text(json.dumps({"files": labels}))
    return spoken.parent


def test_a_folder_is_evaluated(folder: Path) -> None:
    told = relay_vad("--evaluate", folder, "--source", "speech")
    as_json = json.loads(relay_vad("--evaluate", folder, "--source", "speech", "--json").stdout)

    assert told.exit_code == 0
    assert "onsets never cut" in told.stdout
    assert told.stderr.strip() == ""
    assert {row["route"] for row in as_json["detectors"][0]["kinds"]} == {"mu-law 8 kHz", "PCM 16 kHz"}


def test_a_folder_is_evaluated_with_the_model_at_either_rate(folder: Path) -> None:
    arguments = ("--evaluate", folder, "--source", "speech", "--json")
    plain, narrow = (json.loads(relay_vad(*arguments, *rate).stdout) for rate in ([], ["--model-rate", "8000"]))

    assert [told["relay"]["model_rate_hz"] for told in (plain, narrow)] == [16000, 8000]
    assert narrow["detectors"][0]["kinds"][0]["cut"]["missed"]["share"] == 0.0
    assert narrow["detectors"] != plain["detectors"]


def test_a_folder_without_labels_is_wrong_configuration(tmp_path: Path) -> None:
    assert f"{tmp_path / 'labels.json'}: cannot be read" in refusal(relay_vad("--evaluate", tmp_path))


def test_a_source_that_there_is_none_of_is_refused(folder: Path) -> None:
    assert "called trumpet" in refusal(relay_vad("--evaluate", folder, "--source", "trumpet"))


def test_the_detector_on_the_page_of_evaluation_can_be_evaluated(folder: Path, tmp_path: Path) -> None:
    """The page's own script, run as it stands there over the files that the command writes."""
    page = (REPOSITORY / "docs" / "evaluation.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    wrote = relay_vad("--evaluate", folder, "--source", "speech", "--write-cases", tmp_path / "cases")
    (tmp_path / "mine.py").write_text(script)
    subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, check=True)
    done = relay_vad("--evaluate", folder, "--source", "speech", "--decisions", tmp_path / "decisions.json", "--json")
    (detector,) = json.loads(done.stdout)["detectors"]

    assert wrote.stdout.startswith("written: 8 files")
    assert detector["name"] == "loudness"
    assert [each["cut"]["missed"]["share"] for each in detector["kinds"]] == [0.0, 0.0]


def test_cases_that_cannot_be_written_are_wrong_use(folder: Path) -> None:
    assert "--write-cases" in refusal(
        relay_vad("--evaluate", folder, "--source", "speech", "--write-cases", folder / "spoken.wav")
    )
