"""The transport carries one call over its WebSocket: one task reads, one writes, the conversation is between them."""

import json

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection
from wsproto.frame_protocol import CloseReason

from relay.standin.assistant.call import AssistantCall
from relay.standin.assistant.conversation import AssistantConversation
from relay.standin.tcp import reset

_SEND_S = 10.0
_CLOSE_S = 2.0
_MESSAGE_PREVIEW_CHARS = 200


async def run_transport(call: AssistantCall, socket: WebSocketConnection, stream: trio.SocketStream) -> None:
    """Serve an accepted socket until the call is over, and close it as the conversation says.

    `stream` is the TCP connection below, for endings by a reset. A client that takes nothing for 10 s is dropped.
    """
    conversation = call.conversation
    assert conversation is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_read, call, conversation, socket)
        await _write(call, conversation, socket)
        nursery.cancel_scope.cancel()
    await _close(conversation, socket, stream)


async def _read(call: AssistantCall, conversation: AssistantConversation, socket: WebSocketConnection) -> None:
    while True:
        try:
            message = await socket.get_message()
        except ConnectionClosed:
            conversation.client_gone()
            call.wake()
            return
        now_s = trio.current_time()
        if isinstance(message, bytes):
            call.received.add(now_s, message)
            conversation.receive_audio(message, now_s)
        else:
            call.record.note(now_s, outgoing=False, message=_as_event(message))
            conversation.receive_text(message, now_s)
        if conversation.ending is not None or conversation.outbox:
            call.wake()


def _as_event(text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"raw": text[:_MESSAGE_PREVIEW_CHARS]}


async def _write(call: AssistantCall, conversation: AssistantConversation, socket: WebSocketConnection) -> None:
    """Everything that goes out goes out here, on an absolute schedule, or at once when the reader has an answer."""
    tick_s = conversation.chunks.tick_s
    next_tick_s = trio.current_time()
    while True:
        call.changed = trio.Event()
        now_s = trio.current_time()
        if now_s >= next_tick_s:
            conversation.tick(now_s)
            # Ticks that were missed are skipped: the audio of all of them was in this one.
            next_tick_s += max(1, int((now_s - next_tick_s) / tick_s) + 1) * tick_s
        sent = await _send_waiting(call, conversation, socket)
        call.pass_on_hooks()
        if conversation.ending is not None or not sent:
            return
        with trio.move_on_at(next_tick_s):
            await call.changed.wait()


async def _send_waiting(call: AssistantCall, conversation: AssistantConversation, socket: WebSocketConnection) -> bool:
    """Send what is in the outbox; returns whether the socket took it all."""
    while conversation.outbox:
        if conversation.ending is not None and conversation.ending.how in ("drop", "gone", "lost"):
            return False
        message = conversation.outbox.popleft()
        with trio.move_on_after(_SEND_S) as patience:
            try:
                await socket.send_message(message)
            except ConnectionClosed:
                conversation.client_gone()
                return False
        if patience.cancelled_caught:
            conversation.break_off()
            return False
        now_s = trio.current_time()
        if isinstance(message, bytes):
            call.sent.add(now_s, message)
        else:
            call.record.note(now_s, outgoing=True, message=json.loads(message))
    return True


async def _close(conversation: AssistantConversation, socket: WebSocketConnection, stream: trio.SocketStream) -> None:
    how = conversation.ending.how if conversation.ending is not None else "drop"
    if how == "drop":
        reset(stream)
    code = conversation.behaviour.unsettled.close_code
    with trio.move_on_after(_CLOSE_S):
        await socket.aclose(CloseReason.NO_STATUS_RCVD if how == "bare" else code)
