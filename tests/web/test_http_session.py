"""The client's HTTP requests: how each trouble is told to those who may try again."""

from typing import Any

from selenium import webdriver

from tests.support.browser_peer import BrowserPeer
from tests.support.peers import serving
from tests.support.webpage import Page

_POLL = """
const { HttpSession } = await import("/web/http-session.js");
const poll = (answer) => {
  const network = { fetch: async () => answer() };
  return new HttpSession(new URL("https://relay.test/"), { sessionId: "one", token: "secret" }, network)
    .receive(0)
    .catch(({ code, fatal }) => [code, fatal]);
};
"""

CASES: dict[str, tuple[str, Any]] = {
    "an answer is given as it is": (
        """() => new Response('{"next": 5, "messages": []}')""",
        {"next": 5, "messages": []},
    ),
    "an answer that breaks off is no answer": (
        """() => new Response('{"next": 5, "messa')""",
        ["SERVER_GONE", False],
    ),
    "a request that fails is no answer": (
        """() => { throw new TypeError("network") }""",
        ["SERVER_GONE", False],
    ),
    "a proxy without its server is no answer": (
        """() => new Response("<h1>Bad Gateway</h1>", { status: 502 })""",
        ["SERVER_GONE", False],
    ),
    "a refusal is told with the code of the relay, and is final": (
        """() => new Response('{"code": "SESSION_UNKNOWN", "error": "start again"}', { status: 404 })""",
        ["SESSION_UNKNOWN", True],
    ),
    "a session that goes on in another process may be asked for there": (
        """() => new Response('{"code": "SESSION_ELSEWHERE", "error": "ask", "sessionId": "2.x"}', { status: 421 })""",
        ["SESSION_ELSEWHERE", False],
    ),
    "a session that is gone is not": (
        """() => new Response('{"code": "SESSION_ELSEWHERE", "error": "begin anew"}', { status: 421 })""",
        ["SESSION_ELSEWHERE", True],
    ),
    "too many requests may be tried again": (
        """() => new Response('{"code": "TOO_MANY", "error": "wait"}', { status: 429 })""",
        ["TOO_MANY", False],
    ),
    "a refusal without a code is told by its status": (
        """() => new Response("no", { status: 403 })""",
        ["HTTP_403", True],
    ),
}


async def test_http_session(chromium: webdriver.Chrome) -> None:
    """Every case, named by what it guarantees, in one loaded page."""
    page = Page(chromium)
    async with serving(BrowserPeer()) as port:
        await page.open(port)
        found = {name: await page.module(f"{_POLL} return poll({answer});") for name, (answer, _) in CASES.items()}

    assert found == {name: wanted for name, (_, wanted) in CASES.items()}
