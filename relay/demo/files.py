"""The files of a demo are written here: sound, the recording and its timeline, the logs and the verdict."""

import json
import tempfile
from pathlib import Path
from typing import Any

from relay.demo.journal import all_in_plain
from relay.demo.stage import Performance
from relay.demo.verdict import DemoVerdict
from relay.record.page import page
from relay.record.page_sound import page_sound
from relay.record.recorded_call import read_call
from relay.record.sides import CallSides
from relay.record.timeline import timeline

WHAT = {
    "recording": "left what the caller said, right what the caller heard",
    "call": "the relay's recording of the call, for relay report",
    "log": "the daemon's structured log",
    "events": "the event log of the call, from all sides",
    "summary": "the promises and their figures",
    "timeline": "the call to see and to hear, in a browser",
}


def prepare(folder: Path) -> None:
    """Make the folder where there is none; `OSError` when nothing can be written there."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def write(folder: Path, performance: Performance, verdict: DemoVerdict) -> dict[str, str]:
    """Write them; returns their paths by the names in `WHAT`. Without a call there is none of it. Raises OSError."""
    files = {"log": folder / "relay.jsonl", "events": folder / "events.txt", "summary": folder / "summary.json"}
    files["log"].write_text("".join(line + "\n" for line in performance.log), encoding="utf-8")
    files["events"].write_text(all_in_plain(performance.lines), encoding="utf-8")
    if performance.phone is not None and performance.phone.players:
        files["recording"] = folder / "call.wav"
        performance.phone.write_wav(files["recording"])
    if performance.recording is not None:
        files["call"], files["timeline"] = folder / "call.relay", folder / "timeline.html"
        files["call"].write_bytes(performance.recording)
        _write_timeline(files["timeline"], files["call"])
    paths = {name: str(files[name]) for name in WHAT if name in files}
    summary: dict[str, Any] = {**verdict.as_json(), "files": paths}
    files["summary"].write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return paths


def _write_timeline(html: Path, recording: Path) -> None:
    call = read_call([recording])
    sides = CallSides(call)
    html.write_text(page(timeline(call, sides), page_sound(sides)), encoding="utf-8")
