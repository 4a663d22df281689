"""The static files and the headers they are served with."""

import re

import pytest

from relay.record.page import page_parts
from relay.web import ADMIN, HEADERS, PREFIX, admitting, base_style, static_files

PAGES = ("/", ADMIN)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_served_at_its_address_and_refers_only_to_files_that_exist(path: str) -> None:
    served = static_files()
    page = served[path].body.decode()
    wanted = set(re.findall(r'(?:src|href)="([^"]+)"', page))

    assert served[path].content_type.startswith("text/html")
    assert wanted
    assert {f"/{path}" for path in wanted} <= set(served)


def code(path: str) -> str:
    """Without its comments."""
    return re.sub(r"/\*.*?\*/", "", static_files()[path].body.decode(), flags=re.DOTALL)


def imports(path: str) -> list[str]:
    found = re.findall(r'(?:from|import|new URL\()\s*"([^"]+\.js)"', code(path))
    return [PREFIX + module.removeprefix("./") for module in found]


def loaded_with(path: str) -> set[str]:
    """The module, and all that a browser loads for it."""
    return {path}.union(*map(loaded_with, imports(path)))


@pytest.mark.parametrize("path", static_files())
def test_every_import_is_served_and_none_comes_from_elsewhere(path: str) -> None:
    assert set(imports(path)) <= set(static_files())
    if path != f"{PREFIX}icon.svg":  # its namespace is an address
        assert not re.search(r"https?://\w", code(path))


def test_the_client_library_needs_nothing_of_the_page() -> None:
    page = {f"{PREFIX}{name}.js" for name in ("app", "network-lab", "timeline", "transcript")}

    assert loaded_with(f"{PREFIX}app.js") - loaded_with(f"{PREFIX}relay-client.js") == page


def rules(style: str) -> set[tuple[str, str]]:
    """Each selector with each of its declarations, without those in media queries."""
    plain = re.sub(r"/\*.*?\*/|@\w[^{]*\{(?:[^{}]*\{[^{}]*\})*\s*\}", "", style, flags=re.DOTALL)
    found = re.findall(r"([^{}]+)\{([^{}]*)\}", plain)
    return {(" ".join(what.split()), line.strip()) for what, how in found for line in how.split(";") if line.strip()}


def test_no_page_says_again_how_all_pages_look() -> None:
    base = rules(base_style())
    own = {"style": code(f"{PREFIX}style.css"), "admin": code(f"{PREFIX}admin.css")}
    own["recorded"] = page_parts().style.removeprefix(base_style())

    assert ("body", "color: var(--ink)") in base
    again = {name: rules(style) & base for name, style in own.items()}
    assert {name: found for name, found in again.items() if found} == {}


def test_each_page_has_the_look_of_all_pages_first() -> None:
    for path in PAGES:
        sheets = re.findall(r'rel="stylesheet" href="([^"]+)"', static_files()[path].body.decode())
        assert sheets[:2] == ["web/base.css", "web/style.css"]
    assert page_parts().style.startswith(base_style())


@pytest.mark.parametrize("path", PAGES)
def test_nothing_inline_is_allowed_and_nothing_inline_is_there(path: str) -> None:
    policy = HEADERS["Content-Security-Policy"]
    page = static_files()[path].body.decode()

    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", page)


def test_the_page_for_operators_loads_nothing_of_the_callers() -> None:
    own = {f"{PREFIX}{name}.js" for name in ("admin", "admin-api", "admin-parts", "finished-calls", "live-calls")}

    assert loaded_with(f"{PREFIX}admin.js") == own


@pytest.mark.parametrize(
    ("policy", "other", "both"),
    [
        ("default-src 'none'; script-src 'self'", "", "default-src 'none'; script-src 'self'"),
        (
            "default-src 'none'; script-src 'self'; form-action 'none'",
            "default-src 'none'; script-src 'sha256-a=' 'self'; media-src data:; form-action 'none'",
            "default-src 'none'; script-src 'self' 'sha256-a='; form-action 'none'; media-src data:",
        ),
        ("img-src 'none'", "img-src data:", "img-src data:"),
    ],
)
def test_two_policies_together_admit_what_either_does(policy: str, other: str, both: str) -> None:
    assert admitting(policy, other) == both


def test_the_etag_follows_the_content() -> None:
    files = static_files()

    assert len({file.etag for file in files.values()}) == len(files)
    assert files == static_files()
