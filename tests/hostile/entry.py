"""Lets an attacker in: places a call and gets its token, or begins a session with the Origin of the page."""

import http.client
import json
import uuid

from relay.bench import websocket
from relay.bench.caller import MEDIA_HEADERS, SETUP_TIMEOUT_S, SetupFailed, opening_messages, ring
from relay.bench.relay_process import PUBLIC_URL
from tests.hostile.attacks import BROWSER_START

_HOST = "relay.test"


def let_in(number: int, port: int) -> tuple[bytes, bytes]:
    """What connection `number` to the relay on `port` begins with, and what follows the answer to that: by telephone
    and by browser in turn. Blocks while the call is placed. Raises SetupFailed."""
    if number % 2:
        return (
            websocket.upgrade_request("/client", _HOST, {"Origin": PUBLIC_URL}),
            websocket.frame(BROWSER_START, websocket.TEXT, masked=True),
        )
    call = uuid.uuid4().hex
    messages = opening_messages(f"CA{call}", f"MZ{call}", ring(port, f"CA{call}"))
    return (
        websocket.upgrade_request("/twilio/media", _HOST, MEDIA_HEADERS),
        b"".join(websocket.frame(message, websocket.TEXT, masked=True) for message in messages),
    )


def begin_session(port: int, address: str) -> tuple[bytes, bytes]:
    """Begin a session that polls, from this address; blocks. Returns its id and its token. Raises SetupFailed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, SETUP_TIMEOUT_S, source_address=(address, 0))
    try:
        connection.request("POST", "/client", BROWSER_START, {"Origin": PUBLIC_URL})
        answer = connection.getresponse()
        ready = json.loads(answer.read())
    finally:
        connection.close()
    if answer.status != http.client.CREATED:
        raise SetupFailed(f"/client answered {answer.status}")
    return ready["sessionId"].encode(), ready["token"].encode()
