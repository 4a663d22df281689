"""Behind a real nginx, HAProxy and Caddy each request is its client's, whatever that client says of itself."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import trio
from structlog.testing import capture_logs

from relay.config import LimitsConfig
from relay.daemon.server import FOR_OPERATORS
from relay.standin.assistant import Behaviour, open_assistant
from tests.support.certificates import make_certificate
from tests.support.daemons import AUTH_TOKEN, VAPI_KEY, running_daemon, settings
from tests.support.frontrig import (
    PUBLIC,
    PUBLIC_WSS,
    FrontRig,
    connected,
    front_config,
    open_front,
    ringing,
    signature,
    start,
)
from tests.support.late_requests import late_requests
from tests.support.peers import dialled
from tests.support.proxies import DEPLOYED, PROXIES, connected_from, deployed_proxy, passing_tcp, program, proxy

HOST = "relay.example.com"

CLIENT = "127.0.0.2"
"""Another address of this machine, which is no trusted proxy."""
INVENTED = ["X-Forwarded-For: 203.0.113.99", "X-Forwarded-For: 203.0.113.98", "Forwarded: for=203.0.113.97"]
UPGRADE = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
]
REQUESTS = {
    "http": ["POST /twilio/voice HTTP/1.1", "Content-Length: 0", "Connection: close"],
    "websocket": ["GET /twilio/media HTTP/1.1", *UPGRADE],
}


@pytest.fixture
async def rig() -> AsyncIterator[FrontRig]:
    async with open_front() as rig:
        yield rig


@pytest.mark.parametrize("name", PROXIES)
async def test_the_client_is_whom_the_proxy_was_asked_by(name: str, rig: FrontRig, tmp_path: Path) -> None:
    if program(name) is None:
        pytest.skip(f"{name} is not installed: apt-get install {name}")
    statuses, clients = {}, {}
    with proxy(name, rig.port, tmp_path) as port:
        for way, lines in REQUESTS.items():
            with capture_logs() as logs:
                statuses[way] = await status_of(port, [*lines, "Host: relay.example.com", *INVENTED])
            clients[way] = [line["client"] for line in logs if line["event"] == "webhook.rejected"]

    assert statuses == {"http": 403, "websocket": 403}
    assert clients == {"http": [CLIENT], "websocket": [CLIENT]}


@pytest.mark.parametrize(("name", "hangs_up"), [("nginx", True), ("caddy", True), ("haproxy", False)])
async def test_a_late_request_waits_no_longer_than_the_proxy_does_when_its_client_is_gone(
    name: str, *, hangs_up: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if program(name) is None:
        pytest.skip(f"{name} is not installed: apt-get install {name}")
    waits = late_requests(monkeypatch)
    lines = ["GET /nothing HTTP/1.1", f"Host: {HOST}", "Connection: close"]
    config = front_config(limits=LimitsConfig(connections_per_address=1, **waits.keys))
    async with open_front(config) as rig:
        with proxy(name, rig.port, tmp_path) as port:
            counted = 0
            while counted < 10:
                counted += await status_of(port, lines) == 404
            async with await connected_from(CLIENT, port) as client:
                await client.send_all("\r\n".join([*lines, "", ""]).encode())
                with trio.fail_after(20):
                    await waits.begun.wait()
            if hangs_up:
                with trio.fail_after(20):
                    while not rig.metric("relay_limited_total", limit="requests"):  # noqa: ASYNC110 - a count has no event
                        await trio.sleep(0.01)
            else:
                assert await status_of(port, lines) == 429
                assert rig.metric("relay_limited_total", limit="connections_per_address") == 1


@pytest.mark.parametrize(
    ("how", "tls"),
    [("send-proxy", False), ("send-proxy", True), ("send-proxy-v2", True), ("send-proxy-v2-ssl-cn", False)],
)
async def test_the_client_is_whom_haproxy_names_in_front_of_what_it_does_not_look_into(
    how: str, *, tls: bool, tmp_path: Path
) -> None:
    if program("haproxy") is None:
        pytest.skip("haproxy is not installed: apt-get install haproxy")
    text, theirs = settings("http://127.0.0.1:1"), None
    if tls:
        certificate = make_certificate(tmp_path)
        theirs = ssl.create_default_context(cafile=certificate[0])
        text += f'[tls]\ncertificate_file = "{certificate[0]}"\nkey_file = "{certificate[1]}"\n'
    async with running_daemon(text.replace("[server]", "[server]\nproxy_protocol = true")) as daemon:
        with passing_tcp(how, daemon.port, tmp_path) as port:
            status = await status_of(port, [*REQUESTS["http"], f"Host: {HOST}", *INVENTED], theirs)
        itself = await status_of(daemon.port, ["GET /ready HTTP/1.1", "Host: a"], client="127.0.0.1")
        with trio.fail_after(20):
            while not daemon.events_of("connection.failed"):  # noqa: ASYNC110 - a thread writes the log
                await trio.sleep(0.05)
        log = daemon.log()

    assert (status, itself) == (403, 0)
    assert [line["client"] for line in log if line["event"] == "webhook.rejected"] == [CLIENT]
    assert [line["error"] for line in log if line["event"] == "connection.failed"] == ["PROXY_HEADER_INVALID"]


@pytest.mark.parametrize("name", DEPLOYED)
async def test_a_call_goes_through_the_proxy_of_deploy_and_operators_endpoints_do_not(
    name: str, tmp_path: Path
) -> None:
    if program(name) is None:
        pytest.skip(f"{name} is not installed: apt-get install {name}")
    certificate = make_certificate(tmp_path)
    theirs, form = ssl.create_default_context(cafile=certificate[0]), ringing()
    signed = {"X-Twilio-Signature": signature(f"{PUBLIC}/twilio/voice", form, AUTH_TOKEN)}
    to_socket = [(b"x-twilio-signature", signature(f"{PUBLIC_WSS}/twilio/media", token=AUTH_TOKEN).encode())]
    async with (
        open_assistant(key=VAPI_KEY, behaviour=Behaviour(script="tone")) as assistant,
        running_daemon(settings(assistant.base_url)) as daemon,
    ):
        with deployed_proxy(name, daemon.port, tmp_path, certificate) as port:
            await (await connected_from(CLIENT, port)).aclose()
            async with https(port, theirs) as client:
                answer = await client.post("/twilio/voice", data=form, headers=signed)
                refused = [(await client.get(path)).status_code for path in FOR_OPERATORS]
                ready = (await client.get("/ready")).status_code
            token = answer.text.partition('name="token" value="')[2].partition('"')[0]
            async with dialled(port, path="/twilio/media", headers=to_socket, tls=theirs, host=HOST) as phone:
                for message in (connected(), start(token)):
                    await phone.connection.send_message(message)
                with trio.fail_after(30):
                    heard = 0
                    while heard < 100:
                        heard += json.loads(await phone.connection.get_message())["event"] == "media"

    assert refused == [404] * len(FOR_OPERATORS)
    assert ready == 200


def https(port: int, theirs: ssl.SSLContext) -> httpx.AsyncClient:
    """A client for relay.example.com, wherever that is."""

    async def name_it(request: httpx.Request) -> None:
        request.headers["Host"] = HOST
        request.extensions["sni_hostname"] = HOST

    hooks = {"request": [name_it]}
    return httpx.AsyncClient(
        base_url=f"https://127.0.0.1:{port}", verify=theirs, trust_env=False, timeout=20, event_hooks=hooks
    )


async def status_of(port: int, lines: list[str], theirs: ssl.SSLContext | None = None, *, client: str = CLIENT) -> int:
    """Send a request from a client, over TLS if a context is given; the status of the answer, 0 without one."""
    tcp = await connected_from(client, port)
    over = tcp if theirs is None else trio.SSLStream(tcp, theirs, server_hostname=HOST, https_compatible=True)
    async with over as stream:
        await stream.send_all("\r\n".join([*lines, "", ""]).encode())
        answer = bytearray()
        with trio.fail_after(20), suppress(trio.BrokenResourceError):
            while b"\r\n" not in answer and (part := await stream.receive_some()):
                answer += part
    return int(answer.split()[1]) if answer else 0
