"""The load's WebSocket frames against wsproto, against which the relay's own are checked too."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, TextMessage

from relay.bench import websocket
from relay.bench.websocket import Deframer

PAYLOADS = st.binary(max_size=300) | st.sampled_from([125, 126, 65535, 65536]).map(bytes)


@given(payloads=st.lists(PAYLOADS, max_size=5), cut=st.integers(1, 500))
def test_messages_of_a_masking_client_come_back_whole_however_they_are_cut(payloads: list[bytes], cut: int) -> None:
    client = Connection(ConnectionType.CLIENT)
    stream = b"".join(client.send(BytesMessage(payload)) for payload in payloads)
    deframer = Deframer()

    got = [message for at in range(0, len(stream), cut) for message in deframer.feed(stream[at : at + cut])]

    assert got == [(websocket.BINARY, payload) for payload in payloads]


@pytest.mark.parametrize("masked", [True, False])
@given(payload=PAYLOADS)
def test_what_the_load_sends_is_valid_to_wsproto(*, masked: bool, payload: bytes) -> None:
    peer = Connection(ConnectionType.SERVER if masked else ConnectionType.CLIENT)
    peer.receive_data(websocket.frame(payload, websocket.BINARY, masked=masked))

    events = [event for event in peer.events() if isinstance(event, BytesMessage)]

    assert b"".join(event.data for event in events) == payload
    assert events[-1].message_finished


def test_text_is_text() -> None:
    peer = Connection(ConnectionType.SERVER)
    peer.receive_data(websocket.frame(b"{}", websocket.TEXT, masked=True))

    assert [event.data for event in peer.events() if isinstance(event, TextMessage)] == ["{}"]


def test_a_fragment_is_refused() -> None:
    with pytest.raises(ValueError, match="fragmented"):
        Deframer().feed(b"\x02\x01a")


def test_the_accept_key_is_that_of_the_standard() -> None:
    """RFC 6455, 1.3."""
    answer = websocket.upgrade_answer("dGhlIHNhbXBsZSBub25jZQ==")

    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
