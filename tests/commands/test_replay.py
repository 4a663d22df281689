"""`relay replay`: what is printed, what is refused, and how it ends."""

import json
from base64 import b64encode
from pathlib import Path

import pytest
from click.testing import Result
from msgspec.structs import replace

from relay.record.entries import FromCaller, RecordingHeader, ToCaller, ToldToEnd
from relay.record.file_format import SEALED_VERSION
from relay.record.keys import RecordKey
from tests.support.commands import one_line, relay
from tests.support.lively import record_lively, timed_entries
from tests.support.recordings_of_calls import header, write_recording


def relay_replay(*arguments: str | Path) -> Result:
    return relay("replay", *map(str, arguments))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_lively(tmp_path_factory.mktemp("calls"), 1, call_s=4.0)


@pytest.fixture(scope="module")
def false_recording(recording: Path) -> Path:
    """A recording in which one frame to the caller is another than the call has sent."""
    head, entries = timed_entries(recording)
    at = next(index for index, entry in enumerate(entries) if isinstance(entry, ToCaller))
    entries[at] = replace(entries[at], data=b"another")
    return write_recording(recording.with_name("false.relay"), entries, head)


def test_a_call_that_comes_out_the_same_ends_with_0(recording: Path) -> None:
    result = relay_replay(recording, "--json")
    found = json.loads(result.stdout)

    assert result.exit_code == 0
    assert found.keys() == {"identical", "decisions", "speed", "differences"}
    assert found["identical"] is True
    assert found["decisions"] > 200
    assert found["differences"] == []
    assert "identical" in relay_replay(recording).stdout


def test_one_decision_that_does_not_is_shown_and_ends_with_1(false_recording: Path) -> None:
    result = relay_replay(false_recording, "--json")
    found = json.loads(result.stdout)

    assert result.exit_code == 1
    assert found["identical"] is False
    assert [(it["was"] is None, it["is"] is None) for it in found["differences"]] == [(False, True), (True, False)]
    assert "2 differ" in relay_replay(false_recording).stdout


def test_a_sealed_recording_is_replayed_with_its_key_and_refused_without(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, entries = timed_entries(recording)
    sealed = write_recording(recording.with_name("sealed.relay"), entries, head, RecordKey(bytes(range(32))))
    without = relay_replay(sealed)
    monkeypatch.setenv("RELAY_RECORD_KEY", b64encode(bytes(range(32))).decode())
    found = json.loads(relay_replay(sealed, "--json").stdout)
    monkeypatch.delenv("RELAY_RECORD_KEY")
    (key := recording.with_name("key")).write_text(b64encode(bytes(range(32))).decode())
    (config := recording.with_name("config.toml")).write_text(f'[record]\nkey_file = "{key}"\n')
    by_file = relay_replay(sealed, "--config", config, "--json")
    report = relay("report", str(sealed), "--config", str(config))

    assert json.loads(by_file.stdout) | {"speed": 0} == found | {"speed": 0}
    assert (report.exit_code, "hung up" in report.stdout) == (0, True)
    assert sealed.read_bytes()[8] == SEALED_VERSION
    assert without.exit_code == 2
    assert "give that in RELAY_RECORD_KEY" in one_line(without)
    assert found["identical"] is True
    assert found["decisions"] > 200


def test_several_calls_are_counted(recording: Path, false_recording: Path) -> None:
    result = relay_replay(recording, false_recording, "--json")
    found = json.loads(result.stdout)

    assert result.exit_code == 1
    assert (found["calls"], found["identical"]) == (2, 1)
    assert {it["call_id"] for it in found["differences"]} == {timed_entries(recording)[0].call_id}


def test_with_another_setting_it_says_what_would_have_been_otherwise(recording: Path) -> None:
    result = relay_replay(recording, "--set", "vad.threshold=0.9", "--set", "vad.hangover_ms=600")

    assert result.exit_code == 0
    assert "differ" in result.stdout.splitlines()[0]
    assert any(line.split()[1] in {"later", "gone", "new"} for line in result.stdout.splitlines()[1:])


def test_the_setting_that_the_call_had_changes_nothing(recording: Path) -> None:
    found = json.loads(relay_replay(recording, "--set", "jitter.target_ms=200", "--json").stdout)

    assert found["identical"] is True


def test_over_several_calls_another_setting_has_a_table(recording: Path, false_recording: Path) -> None:
    result = relay_replay(recording, false_recording, "--set", "vad.hangover_ms=600")
    lines = result.stdout.splitlines()

    assert result.exit_code == 0
    assert lines[2].startswith("with vad.hangover_ms=600: 2 of 2 calls")
    assert lines[3].split() == ["earlier", "later", "gone", "new", "other"]
    assert any(line.startswith("speech.ended") for line in lines[4:])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("server.port=1", "server.port makes no difference to a replay"),
        ("jitter.reorder_ms=0", "decided before they were recorded"),
        ("vad.threshold=7", "vad.threshold = 7 is not allowed"),
        ("vad.nothing=7", "there is no such key"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_in_one_line(change: str, told: str, recording: Path) -> None:
    result = relay_replay(recording, "--set", change)

    assert result.exit_code == 2
    assert told in one_line(result)


def test_a_file_of_an_older_version_is_refused_with_the_reason(tmp_path: Path) -> None:
    result = relay_replay(write_recording(tmp_path / "old.relay", [], header()))

    assert result.exit_code == 2
    assert "took down too little for a replay" in one_line(result)


def test_a_file_that_cannot_be_replayed_among_others_is_told_of_and_ends_with_1(
    recording: Path, tmp_path: Path
) -> None:
    head, entries = timed_entries(recording)
    old = write_recording(tmp_path / "old.relay", [], header())
    strict = write_recording(
        tmp_path / "strict.relay", entries, replace(head, settings={**head.settings, "vad": {"threshold": 7}})
    )
    foreign = write_recording(tmp_path / "foreign.relay", [*entries[:20], ToldToEnd(1.0, "boredom")], head)
    result = relay_replay(old, strict, foreign, recording, tmp_path / "none.relay", "--json")
    refused = [old, strict, foreign, tmp_path / "none.relay"]

    assert result.exit_code == 1
    assert json.loads(result.stdout)["calls"] == 1
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == [str(path) for path in refused]
    assert f"{foreign}: the replay failed: ValueError: 'boredom'" in result.stderr


@pytest.mark.parametrize("kept", [0.4, 0.8])
def test_a_file_that_was_cut_short_is_replayed_as_far_as_it_goes(kept: float, recording: Path) -> None:
    whole = recording.read_bytes()
    cut = recording.with_name("cut.relay")
    cut.write_bytes(whole[: int(kept * len(whole))])
    head, entries = timed_entries(cut)

    assert isinstance(head, RecordingHeader)
    assert any(isinstance(entry, FromCaller) for entry in entries)
    assert json.loads(relay_replay(cut, "--json").stdout)["identical"] is True
