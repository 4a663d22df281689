"""The page's bad network: what it does to messages, requests and sockets, by the browser's own clock."""

from typing import Any

from selenium import webdriver

from tests.support.browser_peer import BrowserPeer
from tests.support.peers import serving
from tests.support.webpage import Page

_RIG = """
const { Lane, NetworkLab } = await import("/web/network-lab.js");
const lab = new NetworkLab();
const address = (path) => new URL(path, location.href);
const took = async (work) => {
  const began = performance.now();
  await work();
  return performance.now() - began;
};
"""

CASES: dict[str, tuple[str, Any]] = {
    "a good network delays nothing": (
        "const lane = new Lane(lab), seen = []; lane.run(() => seen.push(1)); return seen;",
        [1],
    ),
    "messages keep their order, whatever each of them is delayed": (
        """
        lab.jitterMs = 30;
        const lane = new Lane(lab), seen = [];
        await new Promise((done) => {
          for (let i = 0; i < 100; i++) lane.run(() => seen.push(i) === 100 && done());
        });
        return seen;
        """,
        list(range(100)),
    ),
    "a stall holds what comes, then lets all of it pass in order": (
        """
        const lane = new Lane(lab), seen = [];
        const heldMs = await took(() => new Promise((done) => {
          lab.stall(100);
          lane.run(() => seen.push(1));
          lane.run(() => { seen.push(2); done(); });
        }));
        return [seen, heldMs >= 99];
        """,
        [[1, 2], True],
    ),
    "what still waits when a connection ends is lost": (
        """
        const lane = new Lane(lab), seen = [];
        lab.stall(30);
        lane.run(() => seen.push(1));
        lane.cut();
        await new Promise((done) => setTimeout(done, 60));
        return seen;
        """,
        [],
    ),
    "a request is delayed once, a POST before it goes, the answer to a GET before it is had": (
        """
        const stalled = (path, options) => took(() => {
          lab.stall(100);
          return lab.fetch(address(path), options);
        });
        const getMs = await stalled("/web/wire.js", { method: "GET" });
        const postMs = await stalled("/client", { method: "POST", body: '{"type": "start"}' });
        return [getMs, postMs].map((ms) => 99 <= ms && ms < 10_000);
        """,
        [True, True],
    ),
    "the end of a socket waits for the messages before it": (
        """
        lab.jitterMs = 50;
        const url = address("/client");
        url.protocol = "ws:";
        const socket = lab.openSocket(url), seen = [];
        await new Promise((done) => (socket.onopen = done));
        socket.onmessage = ({ data }) => seen.push(JSON.parse(data).code);
        socket.send('{"type": "start", "sampleRate": 16000, "channels": 1, "encoding": "pcm_s16le"}');
        await new Promise((done) => (socket.onclose = ({ code }) => { seen.push(code); done(); }));
        return seen;
        """,
        ["FULL", 1000],
    ),
}


async def test_network_lab(chromium: webdriver.Chrome) -> None:
    """Every case, named by what it guarantees, in one loaded page."""
    page = Page(chromium)
    peer = BrowserPeer()
    peer.refusing = ("FULL", "100 calls are live: try again later")
    async with serving(peer) as port:
        await page.open(port)
        found = {name: await page.module(_RIG + body) for name, (body, _) in CASES.items()}

    assert found == {name: wanted for name, (_, wanted) in CASES.items()}
