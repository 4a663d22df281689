"""The static files and the headers they are served with."""

import re

from relay.web import HEADERS, PREFIX, static_files


def test_the_page_is_served_at_the_root_and_refers_only_to_files_that_exist() -> None:
    served = static_files()
    page = served["/"].body.decode()
    wanted = set(re.findall(r'(?:src|href)="([^"]+)"', page))

    assert served["/"].content_type.startswith("text/html")
    assert wanted
    assert {f"/{path}" for path in wanted} <= set(served)


def test_every_import_of_every_module_is_served_and_none_comes_from_elsewhere() -> None:
    served = static_files()
    for path, file in served.items():
        code = re.sub(r"/\*.*?\*/", "", file.body.decode(), flags=re.DOTALL)
        for module in re.findall(r'(?:from|import|new URL\()\s*"([^"]+\.js)"', code):
            assert PREFIX + module.removeprefix("./") in served, f"{path} imports {module}"
        if path != f"{PREFIX}icon.svg":
            assert not re.search(r"https?://\w", code), f"{path} names a host"


def test_nothing_inline_is_allowed_and_nothing_inline_is_there() -> None:
    policy = HEADERS["Content-Security-Policy"]
    page = static_files()["/"].body.decode()

    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", page)


def test_the_etag_follows_the_content() -> None:
    files = static_files()

    assert len({file.etag for file in files.values()}) == len(files)
    assert files == static_files()
