"""The questions to a Vapi account, in the order in which they are asked: the first ones decide most and cost least."""

from collections.abc import Sequence

from relay.probe import vapi_lifetime as lifetime
from relay.probe import vapi_sound as sound
from relay.probe import vapi_tools as tools
from relay.probe.question import Question
from relay.probe.vapi_account import LEAST_CALL_S, VapiAccount


def questions(allow: Sequence[str]) -> Sequence[Question[VapiAccount]]:
    """All of them, in the order in which they are asked. `allow`: to whom the assistant may connect callers."""
    text, expected = "By which tool can the assistant ask for a transfer?", "a function named transferCall"
    asked: Question[VapiAccount] = Question(text, expected, tools.transfer_tool)
    return (*QUESTIONS, asked if allow else Question(text, expected, not_measurable="transfer.allow is empty"))


QUESTIONS: Sequence[Question[VapiAccount]] = (
    Question(
        "Is assistantOverrides.silenceTimeoutSeconds accepted?",
        "refused: it is in no schema any more",
        lifetime.silence_timeout,
        LEAST_CALL_S,
    ),
    Question(
        "What reaches the socket after end-call?",
        "status-update ended, perhaps with its reason; no end-of-call-report",
        lifetime.farewell,
        lifetime.SHORT_CALL_S,
    ),
    Question(
        "Does closing the socket end the call, and how soon?",
        "after 1.6 s, or not at all: sources differ",
        lifetime.close_ends,
        lifetime.CLOSED_CALL_S,
    ),
    Question(
        "How evenly does audio come, and is silence sent?",
        "close to real time, with silence",
        sound.pace,
        sound.PACE_CALL_S,
    ),
    Question(
        "How long does old audio come after user-interrupted?",
        "not documented: at most 2000 ms",
        sound.interruption,
        sound.INTERRUPT_CALL_S,
    ),
    Question(
        "Is speech understood that comes at twice its speed?",
        "not documented",
        sound.fast_speech,
        sound.FAST_CALL_S,
    ),
    Question(
        "What is sent in silence, if nothing is ordered as background?",
        "off for calls of this kind, or office",
        sound.stillness,
        sound.STILL_CALL_S,
    ),
    Question(
        "What does a text message of an unknown type do?",
        "closed with 1005 at once",
        lifetime.unknown_message,
        lifetime.SHORT_CALL_S,
    ),
    Question(
        "What does DELETE /call/{id} do to a live call?",
        "erases its record; the call goes on or not",
        lifetime.delete,
        lifetime.SHORT_CALL_S,
    ),
    Question(
        "Does a call's address take another handshake after a lost socket?",
        "refused each time",
        lifetime.redial,
        lifetime.REDIAL_CALL_S * len(lifetime.REDIAL_DELAYS_S),
        deadline_s=90,
    ),
    Question(
        "How long does the address of a new call stay good?",
        "up to 20 to 27 s",
        lifetime.address_age,
        LEAST_CALL_S * len(lifetime.ADDRESS_AGES_S),
        deadline_s=120,
    ),
    Question(
        "How long may the caller's audio pause?",
        "closed with 1005 after about 20 s",
        lifetime.uplink_gap,
        lifetime.GAP_CALL_S,
        deadline_s=90,
    ),
    Question("With which codes does Vapi close sockets?", "1000, 1005 or 1006", lifetime.close_codes),
    Question("How long is the longest text message?", "not documented", sound.largest_text),
    Question(
        "Does phone-call-control come on this transport?",
        "for telephone calls only",
        not_measurable="it goes to a webhook, and the probe serves none",
    ),
)
