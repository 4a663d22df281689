"""The page of a call: one file that needs nothing else, and no text of a call is ever anything but text."""

import base64
import json
import re
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.record import page as page_module
from relay.record.page import MODULES, as_script_data, page, page_parts
from relay.record.page_sound import PageSound
from relay.record.sides import CallSides
from relay.record.timeline import timeline
from tests.support.recordings_of_calls import attached, call_of, ended, sent, spoken, told

NASTY = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(1)> &amp; \u2028 {{x}} <!-- script -->"


def made(text: str = "hello", sound: PageSound | None = None) -> str:
    words = told(1.0, "transcript.final", role="user", text=text)
    call = call_of(attached(), *spoken(0.0, 100), *sent(0.5, 5), words, ended(2.0))
    return page(timeline(call, CallSides(call)), sound)


class Reader(HTMLParser):
    """What a browser makes of the page: each element with its attributes, and the text of script and style elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[dict[str, str | None], str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.elements[-1] if self.elements else ("", {})
        if tag in {"script", "style"}:
            self.texts.append((attributes, data))

    def data(self) -> Any:
        return json.loads("".join(text for attributes, text in self.texts if attributes.get("id") == "data"))


def test_it_refers_to_nothing_outside_and_has_no_handlers_or_styles_of_elements() -> None:
    html = made()
    read = Reader(html)
    addresses = [
        value for _, attributes in read.elements for name, value in attributes.items() if name in {"src", "href"}
    ]

    assert addresses == ["data:,"]
    assert not re.search(r"https?://", html)
    assert [
        name for _, attributes in read.elements for name in attributes if name.startswith("on") or name == "style"
    ] == []


def test_its_policy_allows_its_own_script_and_style_by_their_hashes_and_nothing_else() -> None:
    html = made()
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    [script] = re.findall(r'<script type="module">(.*?)</script>', html, flags=re.DOTALL)
    [style] = re.findall(r"<style>(.*?)</style>", html, flags=re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'" for text in (script, style)]

    assert policy == page_parts().sources
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src {hashes[0]}; style-src {hashes[1]};" in policy
    assert "unsafe" not in policy


def test_what_was_said_is_only_data_whatever_it_is() -> None:
    read = Reader(made(NASTY))

    assert read.data()["lists"]["said"][0]["text"] == NASTY
    assert [tag for tag, _ in read.elements].count("script") == 2
    assert "img" not in [tag for tag, _ in read.elements]


@given(st.text())
def test_data_in_a_script_element_comes_back_as_it_was_and_cannot_end_it(text: str) -> None:
    written = as_script_data({"text": text})

    assert json.loads(written) == {"text": text}
    assert not set("<>&\u2028\u2029") & set(written)


def test_the_tracks_are_little_endian_numbers_of_the_named_type() -> None:
    tracks = Reader(made()).data()["tracks"]
    ahead = np.frombuffer(base64.b64decode(tracks["ahead"]["values"]), f"<{np.dtype(tracks['ahead']['type']).str[1:]}")

    assert {name: track["type"] for name, track in tracks.items()} == {
        **dict.fromkeys(("caller_low", "caller_high", "heard_low", "heard_high"), "int8"),
        "speech": "uint8",
        "queued": "uint16",
        "target": "uint16",
        "ahead": "uint16",
    }
    assert len(ahead) == 100
    assert ahead.max() == pytest.approx(100, abs=20)


def test_the_sound_is_in_it_and_without_one_it_says_so() -> None:
    sound = Reader(made(sound=PageSound("audio/ogg", b"OggS"))).data()["sound"]

    assert sound == {"type": "audio/ogg", "bytes": base64.b64encode(b"OggS").decode()}
    assert Reader(made()).data()["sound"] is None


def test_the_script_is_all_modules_with_each_name_once_and_no_import_left() -> None:
    script = page_parts().script
    names = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", script, flags=re.MULTILINE)

    assert len(names) == len(set(names))
    assert not re.search(r"^(import|export) ", script, flags=re.MULTILINE)
    assert "</script" not in script
    assert "<!--" not in script
    assert set(MODULES) == {path.stem for path in Path(page_module.__file__).with_name("web").glob("*.js")}
