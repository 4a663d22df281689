"""Compares what a call did in two runs: every message that it wrote, and every event that it told.

| stream          | in order                                                                              |
|-----------------|---------------------------------------------------------------------------------------|
| to the caller   | each frame with its turn, position and audio; marks; `clear`                          |
| to an assistant | for each connection: length and CRC-32 of each message of audio, the kind of each text |
| events          | for each part of the call, which is what stands before the dot of a name in the log:  |
|                 | the names, with what stands beside them                                               |

"The same" is: the same in each stream, in the same order, and at the same time: no more than `BOUND_S` later than in
the recorded call, and no more than `HELD_UP_S` sooner, as its machine may have been held up. Numbers of milliseconds or
seconds beside an event may differ by `BOUND_S` more than that, because the clock goes on while a machine works; all
others, turns, positions, causes and counts among them, are equal. How a stream stands to another is bound by the times
alone.

Left out is what a call does not decide: its length, how many of the caller's messages had to be put in order, and what
became of the connections of a browser, of which the session around the call takes care.
"""

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import chain
from typing import Any, Literal

from msgspec.structs import replace

from relay.record.entries import ClearSent, MarkSent, TextToAssistant, Timed, ToAssistant, ToCaller, Told

BOUND_S = 0.05
"""How much earlier or later the same may be, at most."""
HELD_UP_S = 1.0
"""How much later in the recorded call, whose machine may have been busy."""
NOT_DECIDED = frozenset({"duration_s", "messages_missing", "messages_reordered"})
OF_A_BROWSER = frozenset({"caller.lost", "caller.reattached", "caller.not_back", "client.gone", "call.state"})
TO_CALLER = "to the caller"
END = "call.ended"
"""It comes when the last goodbye is said, which takes as long as the other side likes."""


AS_GIVEN = frozenset(
    {
        *("call.started", "call.state", "caller.key_pressed", "caller.bad_message"),
        *("assistant.ready", "assistant.speech", "assistant.ended", "assistant.handed_off"),
        *("webhook.accepted", "webhook.joined"),
        *("assistant.bad_message", "assistant.unknown_message", "transcript.final", "transcript.partial"),
    }
)
"""Events that say only what came from outside."""


@dataclass(frozen=True)
class Decided:
    """One thing that a call did. `what` identifies it; `measured` are numbers of ms, which may differ a little."""

    at_s: float
    what: tuple[Any, ...]
    measured: Mapping[str, float]

    def __str__(self) -> str:
        shown = " ".join(str(part) for part in self.what)
        return " ".join([shown, *(f"{key}={value:g}" for key, value in self.measured.items())])


Kind = Literal["earlier", "later", "gone", "new", "other"]


@dataclass(frozen=True)
class Difference:
    """A decision that was another: `was` is None if it is new, `now` if it is gone. `name` is that of the event, or
    what was written; `later_s` is how much later it comes."""

    at_s: float
    was: str | None
    now: str | None
    name: str = ""
    later_s: float = 0.0

    @property
    def kind(self) -> Kind:
        if self.was is None or self.now is None:
            return "new" if self.was is None else "gone"
        if abs(self.later_s) <= BOUND_S:
            return "other"
        return "later" if self.later_s > 0 else "earlier"

    def as_json(self) -> dict[str, Any]:
        return {"at_s": round(self.at_s, 3), "was": self.was, "is": self.now}


def streams(entries: Iterable[Timed], *, browser: bool) -> dict[str, list[Decided]]:
    """What the call did, by stream."""
    found: dict[str, list[Decided]] = defaultdict(list)
    for entry in entries:
        match entry:
            case ToCaller(at_s, turn, position_ms, _, _, data):
                found[TO_CALLER].append(Decided(at_s, ("frame", turn, position_ms, f"{zlib.crc32(data):08x}"), {}))
            case MarkSent(at_s, turn, position_ms):
                found[TO_CALLER].append(Decided(at_s, ("mark", turn, position_ms), {}))
            case ClearSent(at_s):
                found[TO_CALLER].append(Decided(at_s, ("clear",), {}))
            case ToAssistant(at_s, n_bytes, crc32, number):
                found[f"to assistant {number}"].append(Decided(at_s, ("audio", n_bytes, f"{crc32:08x}"), {}))
            case TextToAssistant(at_s, kind, number):
                found[f"to assistant {number}"].append(Decided(at_s, ("text", kind), {}))
            case Told(at_s, name, values) if not (browser and name in OF_A_BROWSER):
                found[name.partition(".")[0]].append(_told(at_s, name, values, browser=browser))
    return found


def _told(at_s: float, name: str, values: Mapping[str, Any], *, browser: bool) -> Decided:
    left_out = NOT_DECIDED | {"reconnects"} if browser else NOT_DECIDED
    kept = {key: value for key, value in values.items() if key not in left_out}
    measured = {key: value for key, value in kept.items() if _is_measured(key, value)}
    rest = (f"{key}={_shown(value)}" for key, value in kept.items() if key not in measured)
    return Decided(at_s, (name, *rest), measured)


def _is_measured(key: str, value: object) -> bool:
    return key.endswith(("_ms", "_s")) and isinstance(value, int | float)


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {value[key]}" for key in sorted(value)) + "}"
    return str(value)


def count(entries: Iterable[Timed]) -> int:
    """How many decisions there are."""
    return sum(len(stream) for stream in streams(entries, browser=False).values())


def differences(was: Sequence[Timed], now: Sequence[Timed], *, browser: bool) -> list[Difference]:
    """Where the second run did something else than the first, in order of time."""
    before, after = streams(was, browser=browser), streams(now, browser=browser)
    found = [it for name in {**before, **after} for it in _compare(before[name], after[name])]
    return sorted(found, key=lambda it: it.at_s)


def changes(was: Sequence[Timed], now: Sequence[Timed]) -> list[Difference]:
    """What another setting has changed in the events that the call decides, in order of time.

    Events are matched by their names: an interruption a little later is the same one, later.
    """
    before, after = _decided_events(was), _decided_events(now)
    matcher = SequenceMatcher(None, [it.what[0] for it in before], [it.what[0] for it in after], autojunk=False)
    found: list[Difference] = []
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            pairs = zip(before[a:b], after[c:d], strict=True)
            found += [_between(one, other) for one, other in pairs if not _is_same(one, other)]
        else:
            found += [Difference(it.at_s, str(it), None, it.what[0]) for it in before[a:b]]
            found += [Difference(it.at_s, None, str(it), it.what[0]) for it in after[c:d]]
    return sorted(found, key=lambda it: it.at_s)


def _decided_events(entries: Sequence[Timed]) -> list[Decided]:
    told = [entry for entry in entries if isinstance(entry, Told) and entry.name not in AS_GIVEN]
    shown = [replace(it, values={"reason": it.values["reason"]}) if it.name == END else it for it in told]
    return sorted(chain(*streams(shown, browser=True).values()), key=lambda it: it.at_s)


def _is_same(one: Decided, other: Decided) -> bool:
    return one.what == other.what and abs(one.at_s - other.at_s) <= BOUND_S and _equal(one, other, BOUND_S)


def _compare(was: list[Decided], now: list[Decided]) -> Iterator[Difference]:
    if [it.what for it in was] == [it.what for it in now]:
        yield from _moved(was, now)
        return
    matcher = SequenceMatcher(None, [it.what for it in was], [it.what for it in now], autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            yield from _moved(was[a:b], now[c:d])
        else:
            yield from (Difference(it.at_s, str(it), None, it.what[0]) for it in was[a:b])
            yield from (Difference(it.at_s, None, str(it), it.what[0]) for it in now[c:d])


def _moved(was: Sequence[Decided], now: Sequence[Decided]) -> Iterator[Difference]:
    for one, other in zip(was, now, strict=True):
        sooner_s = one.at_s - other.at_s
        in_time = -BOUND_S <= sooner_s <= HELD_UP_S or one.what[0] == END
        if not (in_time and _equal(one, other, BOUND_S + max(0.0, sooner_s))):
            yield _between(one, other)


def _between(one: Decided, other: Decided) -> Difference:
    now = f"{other} at {other.at_s:.3f}"
    return Difference(one.at_s, str(one), now, one.what[0], other.at_s - one.at_s)


def _equal(one: Decided, other: Decided, bound_s: float) -> bool:
    keys = one.measured.keys()
    unit = {key: 1.0 if key.endswith("_s") else 1000.0 for key in keys}
    return keys == other.measured.keys() and all(
        abs(one.measured[key] - other.measured[key]) <= bound_s * unit[key] for key in keys
    )
