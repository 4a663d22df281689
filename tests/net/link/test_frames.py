"""Frames that are written are read by another library, and masks undo themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Message

from relay.net.link.frames import BINARY, CLOSE, KEYS_AT_ONCE, TEXT, close_payload, frame, mask
from tests.support.raw_frames import KEY


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("masked", [False, True])
def test_a_message_of_any_length_is_one_frame_to_another_library(length: int, *, masked: bool) -> None:
    peer = Connection(ConnectionType.SERVER if masked else ConnectionType.CLIENT)
    for opcode, payload in ((TEXT, b"x" * length), (BINARY, bytes(length))):
        peer.receive_data(frame(opcode, payload, masked=masked))
    events = [event for event in peer.events() if isinstance(event, Message)]

    assert [event.message_finished for event in events] == [True, True]
    assert [event.data for event in events] == ["x" * length, bytes(length)]


@given(payload=st.binary(max_size=300))
def test_a_mask_undoes_itself_and_is_that_of_the_standard(payload: bytes) -> None:
    masked = mask(payload, KEY)

    assert masked == bytes(byte ^ KEY[at % 4] for at, byte in enumerate(payload))
    assert mask(bytearray(masked), KEY) == payload


def test_no_two_frames_have_the_same_mask() -> None:
    assert len({frame(BINARY, b"", masked=True) for _ in range(100)}) == 100


def test_the_system_is_asked_for_many_masks_at_once_and_each_is_used_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def urandom(n_bytes: int) -> bytes:
        asked.append(n_bytes)
        return b"".join((len(asked) * n_bytes + at).to_bytes(4) for at in range(0, n_bytes, 4))

    def take_all() -> list[bytes]:
        return [frame(BINARY, b"", masked=True) for _ in range(KEYS_AT_ONCE)]

    monkeypatch.setattr("os.urandom", urandom)
    take_all()  # those of before are used up
    masked = take_all() + take_all()

    assert len(asked) == 3
    assert len(set(masked)) == 2 * KEYS_AT_ONCE


@given(reason=st.text(max_size=200))
def test_a_reason_that_is_too_long_is_cut_between_two_letters(reason: str) -> None:
    peer = Connection(ConnectionType.CLIENT)
    peer.receive_data(frame(CLOSE, close_payload(4000, reason), masked=False))
    (event,) = peer.events()

    assert isinstance(event, CloseConnection)
    assert event.code == 4000
    assert event.reason is not None
    assert reason.startswith(event.reason)
    assert len(reason.encode()) - len(event.reason.encode()) < 4 or len(event.reason.encode()) > 119


def test_no_code_is_no_payload() -> None:
    assert close_payload(1005, "unsaid") == b""
