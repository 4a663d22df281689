"""GET /, /admin and /web/: the files of the pages with their headers."""

import pytest

from relay.web import static_files
from tests.support.frontrig import front_config, open_front


@pytest.mark.parametrize("path", sorted(static_files()))
async def test_each_file_is_served_as_what_it_is_and_nothing_may_be_put_into_it(path: str) -> None:
    async with open_front() as rig:
        answer = await rig.http.get(path)

        assert answer.status_code == 200
        assert answer.content == static_files()[path].body
        assert answer.headers["content-type"] == static_files()[path].content_type
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy


async def test_a_file_that_is_known_is_not_sent_again() -> None:
    async with open_front() as rig:
        tag = (await rig.http.get("/")).headers["etag"]
        again = await rig.http.get("/", headers={"If-None-Match": tag})

        assert (again.status_code, again.content) == (304, b"")


async def test_head_has_no_body() -> None:
    async with open_front() as rig:
        answer = await rig.http.head("/")

        assert answer.status_code == 200
        assert answer.content == b""
        assert int(answer.headers["content-length"]) == len(static_files()["/"].body)


@pytest.mark.parametrize("path", ["/web/", "/web/__init__.py", "/web/%2e%2e/config.py", "/web/a/b", "/index.html"])
async def test_nothing_else_is_served(path: str) -> None:
    async with open_front() as rig:
        answer = await rig.http.get(path)

        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


async def test_only_get_and_head() -> None:
    async with open_front() as rig:
        answer = await rig.http.post("/")

        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET"


async def test_without_an_admin_token_there_is_no_page_for_operators() -> None:
    async with open_front(front_config({"admin_token": None})) as rig:
        answer = await rig.http.get("/admin")

        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
        assert (await rig.http.get("/")).status_code == 200
