"""The files of a demo are written here: the recording, the daemon's log, the event log and the verdict."""

import json
import tempfile
from pathlib import Path
from typing import Any

from relay.demo.journal import all_in_plain
from relay.demo.stage import Performance
from relay.demo.verdict import DemoVerdict

WHAT = {
    "recording": "left what the caller said, right what the caller heard",
    "log": "the daemon's structured log",
    "events": "the event log of the call, from all sides",
    "summary": "the promises and their figures",
}


def prepare(folder: Path) -> None:
    """Make the folder where there is none; `OSError` when nothing can be written there."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def write(folder: Path, performance: Performance, verdict: DemoVerdict) -> dict[str, str]:
    """Write them; returns their paths by the names in `WHAT`. Without a call there is no recording. Raises OSError."""
    files = {"log": folder / "relay.jsonl", "events": folder / "events.txt", "summary": folder / "summary.json"}
    files["log"].write_text("".join(line + "\n" for line in performance.log), encoding="utf-8")
    files["events"].write_text(all_in_plain(performance.lines), encoding="utf-8")
    if performance.phone is not None and performance.phone.players:
        files["recording"] = folder / "call.wav"
        performance.phone.write_wav(files["recording"])
    paths = {name: str(files[name]) for name in WHAT if name in files}
    summary: dict[str, Any] = {**verdict.as_json(), "files": paths}
    files["summary"].write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return paths
