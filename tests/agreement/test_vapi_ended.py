"""Every reason for which Vapi ends a call, from Vapi's own library, in its family."""

from collections import Counter
from fnmatch import fnmatchcase

from relay.wire.vapi_ended import Family, family
from tests.support.agreement import Note
from tests.support.vapi_schema import Choice, library

# What Vapi's pages "Call ended reasons" and "Troubleshoot call errors" say of reasons of this form. The first that
# matches counts.
DOCUMENTED = [
    ("*error-configfault-*", Family.NEVER),
    ("*squad-version-error-validation", Family.NEVER),
    ("*model-unsupported-in-squad", Family.NEVER),
    ("customer-*", Family.ENDED),
    ("assistant-ended-call*", Family.ENDED),
    ("assistant-said-end-call-phrase", Family.ENDED),
    ("assistant-forwarded-call", Family.ENDED),
    ("silence-timed-out", Family.ENDED),
    ("manually-canceled", Family.ENDED),
    ("call-deleted", Family.ENDED),
    ("*worker-died*", Family.SAME_ASSISTANT),
    ("*worker-not-available*", Family.SAME_ASSISTANT),
    ("worker-shutdown", Family.SAME_ASSISTANT),
    ("*transport-never-connected*", Family.SAME_ASSISTANT),
    ("*transport-connected-but-call-not-active*", Family.SAME_ASSISTANT),
    ("*connection-to-transport-missing*", Family.SAME_ASSISTANT),
    ("*-500-*", Family.SAME_ASSISTANT),
    ("*-503-*", Family.SAME_ASSISTANT),
    ("*returning-502*", Family.SAME_ASSISTANT),
    ("*-server-error", Family.SAME_ASSISTANT),
    ("*server-overloaded*", Family.SAME_ASSISTANT),
    ("*database-error", Family.SAME_ASSISTANT),
    ("exceeded-max-duration", Family.SAME_ASSISTANT),
    ("*-401-*", Family.OTHER_ASSISTANT),
    ("*-403-*", Family.OTHER_ASSISTANT),
    ("*-429-*", Family.OTHER_ASSISTANT),
    ("*-400-*", Family.OTHER_ASSISTANT),
    ("*quota*", Family.OTHER_ASSISTANT),
    ("*credit*", Family.OTHER_ASSISTANT),
    ("*-voice-failed", Family.OTHER_ASSISTANT),
    ("*-transcriber-failed", Family.OTHER_ASSISTANT),
    ("*-llm-failed", Family.OTHER_ASSISTANT),
]


def reasons() -> tuple[str, ...]:
    listed = library("types.call_ended_reason").named("CallEndedReason")
    assert isinstance(listed, Choice)
    return listed.values


def test_every_reason_is_where_its_documented_form_belongs() -> None:
    wrong = {}
    for reason in reasons():
        expected = next((kind for form, kind in DOCUMENTED if fnmatchcase(reason, form)), None)
        if expected not in {None, family(reason)}:
            wrong[reason] = family(reason)

    assert wrong == {}


def test_each_documented_form_is_of_some_use() -> None:
    assert [form for form, _ in DOCUMENTED if not any(fnmatchcase(reason, form) for reason in reasons())] == []


def test_so_many_reasons_are_in_each_family(note: Note) -> None:
    counts = Counter(map(family, reasons()))

    assert counts == {
        Family.SAME_ASSISTANT: 135,
        Family.OTHER_ASSISTANT: 437,
        Family.ENDED: 27,
        Family.NEVER: 5,
    }
    note("Vapi: values of endedReason", counts.total(), ", ".join(f"{counts[kind]} {kind.name}" for kind in Family))
