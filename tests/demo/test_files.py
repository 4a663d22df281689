"""The files of a demo are written where they were promised, and name each other."""

import json
import wave
from pathlib import Path

import pytest

from relay.demo import files
from relay.demo.event import DemoEvent
from relay.demo.evidence import Evidence
from relay.demo.journal import JournalLine
from relay.demo.promise import Promise
from relay.demo.stage import Performance
from relay.demo.verdict import FIGURES, DemoVerdict
from relay.standin.phone import Phone, PhoneOptions
from relay.standin.phone.lips import Lips
from relay.standin.phone.media import MediaStream
from relay.standin.phone.player import Player
from relay.standin.phone.stream import StreamMessages
from tests.support.recordings_of_calls import attached, ended, spoken, write_recording

VERDICT = DemoVerdict([Promise("silent at once", kept=True, figure="96 ms")], dict.fromkeys(FIGURES, 1.0))


def performance(phone: Phone | None, recording: bytes | None = None) -> Performance:
    line = JournalLine(250.0, 0.0, DemoEvent(10.25, "relay", "the phone rings"))
    return Performance(
        evidence=Evidence(broken=None),
        log=['{"event":"a"}', '{"event":"b"}'],
        lines=[line],
        phone=phone,
        recording=recording,
    )


def phone_with_a_stream() -> Phone:
    phone = Phone(PhoneOptions(), "CA1", 10.0, Lips(10.0))
    phone.streams.append(MediaStream(Player("MZ1", 10.5), StreamMessages("AC1", "CA1", "MZ1"), phone.lips))
    phone.streams[0].player.advance(11.0)
    return phone


def test_a_folder_is_made_where_there_is_none(tmp_path: Path) -> None:
    files.prepare(tmp_path / "a" / "b")

    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        files.prepare(tmp_path / "file")


def test_all_are_written_and_named(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "x.relay", [attached(), *spoken(0.0, 50), ended(1.0)]).read_bytes()
    paths = files.write(tmp_path, performance(phone_with_a_stream(), recording), VERDICT)

    assert paths.keys() == files.WHAT.keys()
    assert {Path(path).parent for path in paths.values()} == {tmp_path}
    assert Path(paths["log"]).read_text() == '{"event":"a"}\n{"event":"b"}\n'
    assert Path(paths["events"]).read_text() == "  0.250     +0 ms  relay     the phone rings\n"
    assert Path(paths["call"]).read_bytes() == recording
    assert Path(paths["timeline"]).read_text().startswith("<!doctype html>")
    with wave.open(paths["recording"]) as recording:
        assert (recording.getnchannels(), recording.getframerate(), recording.getnframes()) == (2, 8000, 8000)


def test_the_summary_has_the_promises_the_figures_and_all_files(tmp_path: Path) -> None:
    paths = files.write(tmp_path, performance(phone_with_a_stream()), VERDICT)

    assert json.loads(Path(paths["summary"]).read_text()) == {**VERDICT.as_json(), "files": paths}


@pytest.mark.parametrize("phone", [None, Phone(PhoneOptions(), "CA1", 10.0, Lips(10.0))], ids=["no phone", "no stream"])
def test_without_a_call_there_is_no_recording(phone: Phone | None, tmp_path: Path) -> None:
    paths = files.write(tmp_path, performance(phone), VERDICT)

    assert paths.keys() == {"log", "events", "summary"}
    assert not [*tmp_path.glob("*.wav"), *tmp_path.glob("*.html")]
