"""Makes the page of a recorded call: its timeline, its lists and its sound in one HTML file that needs nothing else.

The page runs under a Content-Security-Policy that names the hashes of its script and its style. Everything of a call
is in one block of JSON, which no browser runs; what was said in it is only ever shown as text.
"""

import base64
import json
import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from relay.record.page_sound import PageSound
from relay.record.timeline import Timeline
from relay.record.verdict import WORST
from relay.web import base_style

MODULES = ("track", "view", "call", "player", "pen", "lanes", "overview", "lists", "app")
"""Each may import those before it."""

_IMPORT = re.compile(r"^import .*?;\n", re.MULTILINE | re.DOTALL)
_PLACE = re.compile(r"<!-- (\w+) -->")
_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""Written so, no text ends the block or begins a comment (HTML, "Restrictions for contents of script elements")."""


@dataclass(frozen=True, slots=True)
class PageParts:
    """What all pages have in common."""

    template: str
    style: str
    script: str
    script_hash: str
    style_hash: str

    @property
    def sources(self) -> str:
        """The policy, without the directives that only a header may have."""
        return (
            f"default-src 'none'; script-src '{self.script_hash}'; style-src '{self.style_hash}'; "
            "img-src data:; media-src blob:; base-uri 'none'; form-action 'none'"
        )


@cache
def page_parts() -> PageParts:
    """Read them, and join the modules into one script: a page without a server has nowhere to import from."""
    folder = files("relay.record").joinpath("web")
    read = {entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.is_file()}
    modules = (re.sub(r"^export ", "", _IMPORT.sub("", read[f"{name}.js"]), flags=re.MULTILINE) for name in MODULES)
    script, style = "\n".join(modules), base_style() + read["style.css"]
    return PageParts(read["page.html"], style, script, _hash(script), _hash(style))


def page(timeline: Timeline, sound: PageSound | None) -> str:
    """The page, as HTML in UTF-8. Without a sound it plays nothing."""
    parts = page_parts()
    filled = {
        "policy": parts.sources,
        "style": parts.style,
        "script": parts.script,
        "data": as_script_data(page_data(timeline, sound)),
    }
    return _PLACE.sub(lambda place: filled[place[1]], parts.template)


def page_data(timeline: Timeline, sound: PageSound | None) -> dict[str, Any]:
    """What the page's script reads. Times are ms of the time line."""
    summary, settings = timeline.summary, timeline.settings
    return {
        "id": summary.call_id,
        "sid": summary.call_sid,
        "started_at": summary.started_at,
        "duration_ms": timeline.duration_ms,
        "is_live": timeline.is_live,
        "threshold": settings.get("vad", {}).get("threshold"),
        "lead_ms": settings.get("jitter", {}).get("lead_ms"),
        "verdict": timeline.verdict,
        "worst": WORST,
        "lists": timeline.lists,
        "tracks": {
            name: {"step_ms": track.step_ms, "type": track.values.dtype.name, "values": _base64(_little(track.values))}
            for name, track in timeline.tracks.items()
        },
        "sound": None if sound is None else {"type": sound.content_type, "bytes": _base64(sound.data)},
    }


def as_script_data(values: object) -> str:
    """JSON that may stand in a script element, whatever texts are in it."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return re.sub("[<>&\u2028\u2029]", lambda found: _IN_SCRIPT[found[0]], text)


def _little(values: Any) -> bytes:
    data: bytes = values.astype(values.dtype.newbyteorder("<")).tobytes()
    return data


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _hash(text: str) -> str:
    """As a source of the policy names it (Content Security Policy Level 3, section 2.3.1)."""
    return f"sha256-{_base64(sha256(text.encode()).digest())}"
