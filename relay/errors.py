"""Defines every exception that the relay raises on purpose, by what can be done about it.

A normal end (hang-up, end of audio) is a return value or a closed channel, never an exception.
`code` is the fixed name that clients, operators and counters see.
"""


class RelayError(Exception):
    """The base of all. It is never raised itself."""

    code = "RELAY_ERROR"


class ConfigError(RelayError):
    """The configuration cannot be used; the text is the one line shown to the operator."""

    code = "CONFIG_INVALID"


class StartFailed(RelayError):
    """The daemon cannot start now, and may be able to later: worth another try."""

    code = "START_FAILED"


class FormatMismatch(RelayError):
    """Audio of one format was given to a stage that takes another."""

    code = "FORMAT_MISMATCH"


class RecordingBroken(FormatMismatch):
    """A recording is cut short, or contradicts itself: it could be of the right format, and is of no use."""

    code = "RECORDING_BROKEN"


class NotARecording(RelayError):
    """A file is no recording of a call that this program can read; the text is one line that says why."""

    code = "NOT_A_RECORDING"


class ProtocolError(RelayError):
    """A message breaks its protocol. It is raised only as one of its two subclasses."""


class LocalProtocolError(ProtocolError):
    """We were about to break the protocol: a bug of ours."""

    code = "LOCAL_PROTOCOL_ERROR"


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol. `code` says how; the leg may go on or not, as the reader decides."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class MessageUnsupported(RemoteProtocolError):
    """The message is well formed, and of a kind that the relay does not take: a later version of the protocol may have
    it. It is passed over, however often it comes."""


class StartUnusable(RemoteProtocolError):
    """The message that begins a stream cannot be used: there will be no stream."""


class LegLost(RelayError):
    """A leg's socket is gone without a goodbye (network, time-out, fenced off): worth another try.

    `close_code` is that of RFC 6455, section 7.4, where one side found that the other broke the protocol.
    """

    code = "LEG_LOST"

    def __init__(self, message: str = "", close_code: int | None = None) -> None:
        super().__init__(message)
        self.close_code = close_code


class LegClosed(RelayError):
    """The peer closed the socket in order. `close_code` is that of RFC 6455, section 7.4; 1005 if it sent none."""

    code = "LEG_CLOSED"

    def __init__(self, close_code: int, reason: str = "") -> None:
        super().__init__(f"closed with {close_code} {reason}".rstrip())
        self.close_code = close_code
        self.reason = reason


class AssistantUnavailable(RelayError):
    """No call with the assistant could be made. `retriable`: whether the same request may succeed later.

    `call_id`: of a call that exists all the same, is of no use and is to be ended, at `control_url` where that is
    known. `locked_out_s`: how long no other call is worth asking for.
    """

    def __init__(
        self,
        message: str,
        code: str,
        *,
        retriable: bool,
        call_id: str | None = None,
        control_url: str | None = None,
        locked_out_s: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retriable = retriable
        self.call_id = call_id
        self.control_url = control_url
        self.locked_out_s = locked_out_s


class HangUpFailed(RelayError):
    """A call with the assistant is not known to be over: worth another try."""

    code = "HANG_UP_FAILED"


class CallRefused(RelayError):
    """A call is not accepted: `reason` is "full", "draining" or "ended", and `cause` says why it is full."""

    code = "CALL_REFUSED"

    def __init__(self, reason: str, cause: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.cause = cause or reason


class AuthRejected(RelayError):
    """A signature, token, origin or account was not accepted. The text names what failed, never its value."""

    code = "AUTH_REJECTED"


class RequestRefused(RelayError):
    """A request is not granted. `status` is the HTTP status that says the same as `code`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class SessionElsewhere(RequestRefused):
    """The session is another process's, which lives. `session_id` is the id by which it is reached; "": that is not
    known, or none of the client's business."""

    code = "SESSION_ELSEWHERE"

    def __init__(self, session_id: str = "") -> None:
        if session_id:
            text = "another process has this session: ask again with the sessionId in this answer"
        else:
            text = "this session was another process's, which does not answer: begin a new one"
        super().__init__(421, self.code, text)
        self.session_id = session_id


class StateUnavailable(RelayError):
    """The state store did not do what was asked, or not in time: worth another try, and no reason to end a call."""

    code = "STATE_UNAVAILABLE"


class RecordTaken(RelayError):
    """The record of a call belongs to another process, which has taken the call over."""

    code = "STATE_TAKEN"


class CannotReplay(RelayError):
    """A recording does not hold what a replay of its call needs; the text is one line that says why."""

    code = "CANNOT_REPLAY"
