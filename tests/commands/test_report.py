"""`relay report`: what is printed, written, erased and refused."""

import json
import sys
import wave
from base64 import b64encode
from pathlib import Path

import pytest
from click.testing import Result

from relay.record.entries import Told
from relay.record.keys import parse_key
from tests.support.commands import one_line, relay
from tests.support.recordings_of_calls import attached, ended, header, sent, spoken, told, write_recording


def relay_report(*arguments: str | Path) -> Result:
    return relay("report", *map(str, arguments))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    lost = told(2.0, "assistant.lost", error="no pong", close_code=None)
    back = told(3.0, "assistant.reconnected", gap_ms=1000.0, replayed_ms=0, dropped_ms=0, attempt=1)
    return write_recording(
        tmp_path / "call.relay", [attached(), *spoken(0.0, 200), *sent(1.0, 5), lost, back, ended(4.0)]
    )


def test_without_an_option_it_says_the_verdict_in_sentences(recording: Path) -> None:
    result = relay_report(recording)

    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].startswith("At 00:02.0 the assistant was away for 1.0 s: ")
    assert result.stdout.splitlines()[-1] == "The caller hung up after 00:04.0."


def test_the_object_for_machines_has_all_its_keys(recording: Path) -> None:
    result = relay_report(recording, "--json")
    found = json.loads(result.stdout)

    assert set(found) == {
        *("call_id", "call_sid", "started_at", "duration_s", "end_reason", "verdict", "worst"),
        *("interruptions", "reconnects", "holes", "latency_ms", "assistant_calls", "complete"),
    }
    assert found["complete"] is True
    assert found["worst"][0]["at_s"] == 2.0
    assert len(found["worst"]) == 1


def test_the_event_log_is_printed_as_text(recording: Path) -> None:
    lines = relay_report(recording, "--text").stdout.splitlines()

    assert [line.split()[3] for line in lines] == [
        "caller.attached",
        "assistant.lost",
        "assistant.reconnected",
        "call.ended",
    ]


def test_the_sound_is_written_and_can_be_had_beside_the_object(recording: Path, tmp_path: Path) -> None:
    result = relay_report(recording, "--wav", tmp_path / "call.wav", "--json")

    assert json.loads(result.stdout)["duration_s"] == 4.0
    with wave.open(str(tmp_path / "call.wav")) as file:
        assert (file.getnchannels(), file.getnframes()) == (2, 32000)
    assert relay_report(recording, "--wav", tmp_path / "2.wav").stdout == f"written: {tmp_path / '2.wav'}\n"


def test_the_timeline_is_written_as_a_page_a_picture_and_a_trace(recording: Path, tmp_path: Path) -> None:
    html, png, trace = tmp_path / "call.html", tmp_path / "call.png", tmp_path / "trace.json"
    result = relay_report(recording, "--html", html, "--png", png, "--trace", trace)

    assert result.stdout.splitlines() == [f"written: {path}" for path in (html, png, trace)]
    assert html.read_text().startswith("<!doctype html>")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert json.loads(trace.read_text())["traceEvents"]


def test_the_page_goes_to_standard_output_and_nothing_else_does(recording: Path) -> None:
    result = relay_report(recording, "--html", "-")

    assert result.stdout.startswith("<!doctype html>")
    assert result.stdout.endswith("</html>\n")


def test_both_files_of_a_call_that_went_on_in_another_process_are_one_call(recording: Path, tmp_path: Path) -> None:
    second = write_recording(tmp_path / "call-2.relay", [attached(), ended(5.0)], header(began_at=1_000_010.0))

    assert json.loads(relay_report(second, recording, "--json").stdout)["duration_s"] == 15.0


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_file_that_was_cut_short_is_told_of_with_status_0(kept: float, recording: Path) -> None:
    whole = recording.read_bytes()
    recording.write_bytes(whole[: 400 + int(kept * (len(whole) - 400))])
    result = relay_report(recording, "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["complete"] is False


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"RIFF", "no recording of a call"), (b"", "no recording of a call"), (None, "cannot be read: No such file")],
)
def test_what_is_no_recording_ends_with_status_2_and_one_line(content: bytes | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "x").write_bytes(content)
    result = relay_report(tmp_path / "x")

    assert result.exit_code == 2
    assert told in one_line(result)


@pytest.mark.parametrize("event", ["bargein.flushed", "assistant.reconnected", "call.ended", "playout.hole"])
def test_an_event_without_what_belongs_to_it_ends_with_status_2_and_one_line(event: str, tmp_path: Path) -> None:
    path = write_recording(tmp_path / "x", [attached(), Told(1.0, event, {}), ended(4.0)])
    result = relay_report(path, "--html", tmp_path / "x.html")

    assert result.exit_code == 2
    assert one_line(result).startswith(f"relay: {path}: a recording with {event} as no call has it: ")


def test_a_fault_of_the_report_itself_is_seen(recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is none of the file's, and whoever mends it needs to know where it came from."""

    def fail(*_: object, **__: object) -> None:
        raise LookupError

    monkeypatch.setattr("relay.commands.report.timeline", fail)
    result = relay_report(recording, "--html", tmp_path / "x.html")

    assert isinstance(result.exception, LookupError)


def test_a_call_that_the_memory_does_not_hold_ends_with_status_2_and_one_line(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("relay.commands.report.timeline", fail)
    result = relay_report(recording, "--html", tmp_path / "x.html")

    assert result.exit_code == 2
    assert "too little memory" in one_line(result)


KEY, OTHER = (b64encode(bytes(range(n, n + 32))).decode() for n in (1, 2))


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    return write_recording(tmp_path / "sealed.relay", [attached(), ended(4.0)], key=parse_key(KEY))


@pytest.mark.parametrize("keys", [KEY, f"{OTHER},{KEY}", f"{KEY},{OTHER}"])
def test_a_sealed_recording_is_read_with_any_of_the_keys_in_the_environment(keys: str, sealed: Path) -> None:
    result = relay("report", str(sealed), RELAY_RECORD_KEY=keys)

    assert result.stdout.splitlines()[-1] == "The caller hung up after 00:04.0."


@pytest.mark.parametrize(
    ("keys", "told"), [("", "is sealed with the key"), (OTHER, "is sealed with the key"), ("short", "is no Base64")]
)
def test_without_its_key_a_sealed_recording_ends_with_status_2_and_one_line(keys: str, told: str, sealed: Path) -> None:
    result = relay("report", str(sealed), RELAY_RECORD_KEY=keys)

    assert result.exit_code == 2
    assert told in one_line(result)
    assert "short" not in one_line(result)


def test_a_picture_that_cannot_be_drawn_here_is_refused_before_anything_is_read_with_the_extra_that_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "relay.record.picture", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    done = relay_report(tmp_path / "none.relay", "--png", tmp_path / "call.png")

    assert done.exit_code == 2
    assert one_line(done) == (
        'relay: --png needs matplotlib, which is not installed: install relay with its extra "plot"\n'
    )


@pytest.mark.parametrize("option", ["--wav", "--html", "--png", "--trace"])
def test_what_cannot_be_written_ends_with_status_2_and_one_line(option: str, recording: Path, tmp_path: Path) -> None:
    result = relay_report(recording, option, tmp_path / "no" / "file")

    assert result.exit_code == 2
    assert "cannot be written" in one_line(result)


@pytest.fixture
def configured(tmp_path: Path) -> tuple[Path, Path]:
    """A configuration, and its folder with the recordings of two calls."""
    folder = tmp_path / "calls"
    folder.mkdir()
    for name in ("one", "one-2", "two"):
        write_recording(folder / f"{name}.relay", [], header(name.partition("-")[0]))
    config = tmp_path / "config.toml"
    config.write_text(f'[record]\ndir = "{folder}"\n')
    return config, folder


def test_erasing_a_call_removes_its_files_and_needs_no_secrets(configured: tuple[Path, Path]) -> None:
    config, folder = configured
    result = relay_report("--erase", "one", "--config", config)

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [f"erased: {folder / name}.relay" for name in ("one-2", "one")]
    assert [path.name for path in folder.iterdir()] == ["two.relay"]


@pytest.mark.parametrize("call_id", ["three", "../calls/two", "*", ""])
def test_erasing_a_call_that_has_no_recording_is_a_failure(call_id: str, configured: tuple[Path, Path]) -> None:
    config, folder = configured
    result = relay_report("--erase", call_id, "--config", config)

    assert result.exit_code == 1
    assert "no recording" in one_line(result)
    assert len(list(folder.iterdir())) == 3
