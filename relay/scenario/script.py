"""Reads scenarios: a step on each line, in words. The whole script is checked before a call is placed.

`FORMS` is the language. Words in small letters stand for themselves, words in capitals for a value; what is in brackets
may be left out.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from relay.scenario.sounds import made_up_cough, sound_named
from relay.scenario.step import (
    AnswerWithin,
    CallerStep,
    DropStep,
    EchoOffStep,
    EchoStep,
    EndWithin,
    Expectation,
    HangUpStep,
    NoCutFor,
    PressStep,
    RestWithin,
    SayStep,
    ScriptLine,
    SilenceFor,
    SilenceWithin,
    SpeechFor,
    TransferWithin,
    WaitStep,
)

FORMS: Mapping[str, Callable[..., CallerStep | Expectation]] = {
    "say SOUND": SayStep,
    "interrupt with SOUND": partial(SayStep, interrupts=True),
    "cough [with SOUND]": lambda sound=None: SayStep(sound or made_up_cough()),
    "echo loss LOSS delay TIME": EchoStep,
    "echo off": EchoOffStep,
    "wait TIME": WaitStep,
    "press KEYS": PressStep,
    "drop": DropStep,
    "hang up": HangUpStep,
    "expect silence within TIME": SilenceWithin,
    "expect silence for TIME [within TIME]": SilenceFor,
    "expect speech for TIME within TIME": SpeechFor,
    "expect answer within TIME [instead of SOUND]": AnswerWithin,
    "expect rest of SOUND within TIME": RestWithin,
    "expect no cut for TIME [in SOUND]": NoCutFor,
    "expect end within TIME": EndWithin,
    "expect transfer to DESTINATION within TIME": TransferWithin,
}
LONGEST_S = 600.0
MOST_LOSS_DB = 90.0
_PER_SECOND = {"ms": 1000.0, "s": 1.0}
_WORD = re.compile(r'"([^"]*)"|([^\s"]+)')
_MEASURE = re.compile(r"(\d+(?:\.\d+)?)([a-zA-Z]*)")


class BadScenario(Exception):
    """A script that cannot be played; the text is one line: file, line, what is wrong, what is allowed."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A script. `title` is its first line, if that is a comment."""

    title: str
    lines: tuple[ScriptLine, ...]


def read_scenario(path: Path) -> Scenario:
    """Raises BadScenario. Recordings are looked for in the script's folder."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadScenario(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise BadScenario(f"{path}: line {line} is not UTF-8 text") from None
    return parse_scenario(text, path)


def parse_scenario(script: str, path: Path) -> Scenario:
    """The scenario whose script was read from `path`. Raises BadScenario."""
    written = script.splitlines()
    lines: list[ScriptLine] = []
    for number, line in enumerate(written, 1):
        try:
            words, text = _split(line)
            if words:
                _check_order(lines)
                lines.append(ScriptLine(number, text, _read_step(words, path.parent)))
        except ValueError as error:
            raise BadScenario(_printable(f"{path}: line {number}: {error}")) from None
    if not lines:
        raise BadScenario(f"{path}: has no steps; a step is one of: {'; '.join(FORMS)}")
    title = written[0].lstrip("# ") if written[0].startswith("#") else ""
    return Scenario(_printable(title), tuple(lines))


def _check_order(before: list[ScriptLine]) -> None:
    if before and isinstance(before[-1].step, HangUpStep | EndWithin):
        raise ValueError(f'the call is over after "{before[-1].text}"')


def _split(line: str) -> tuple[list[str], str]:
    """The words of a line, and their text as written, without the comment. Words in quotation marks may hold spaces."""
    words: list[str] = []
    at = 0
    while at < len(line) and line[at] != "#":
        if line[at].isspace():
            at += 1
            continue
        found = _WORD.match(line, at)
        if found is None:
            raise ValueError("a quotation mark is not closed")
        words.append(found[2] if found[1] is None else found[1])
        at = found.end()
    return words, " ".join(line[:at].split())


def _read_step(words: list[str], folder: Path) -> CallerStep | Expectation:
    forms = [form for form in FORMS if _agrees(form, words)]
    if not forms:
        raise ValueError(_no_such_step(words))
    (form,) = forms
    required, _, optional = form.rstrip("]").partition(" [")
    rest = list(words)
    values = _take(required.split(), rest, folder, form)
    if rest:
        values += _take(optional.split(), rest, folder, form)
    if rest:
        raise ValueError(f'"{" ".join(rest)}" is too much; the step is: {form}')
    return FORMS[form](*values)


def _agrees(form: str, words: list[str]) -> bool:
    """Whether the step begins with the words by which the form is told from the others."""
    fixed = _fixed_words(form)
    return words[: len(fixed)] == fixed


def _fixed_words(form: str) -> list[str]:
    fixed = []
    for word in form.split():
        if not word.islower() or word.startswith("["):
            break
        fixed.append(word)
    return fixed


def _n_agreeing(form: str, words: list[str]) -> int:
    """With how many of the words by which the form is known the step begins."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(_fixed_words(form), words, strict=False))))


def _no_such_step(words: list[str]) -> str:
    agreeing = {form: _n_agreeing(form, words) for form in FORMS}
    if most := max(agreeing.values()):
        near = [form for form, n_words in agreeing.items() if n_words == most]
        return f'"{" ".join(words)}" must be {"one of: " if len(near) > 1 else ""}{"; ".join(near)}'
    verbs = dict.fromkeys(form.split()[0] for form in FORMS)
    hint = difflib.get_close_matches(words[0], verbs, n=1)
    told = f'did you mean "{hint[0]}"?' if hint else f"allowed: {', '.join(verbs)}"
    return f'"{words[0]}" is no step; {told}'


def _take(pattern: list[str], rest: list[str], folder: Path, form: str) -> list[Any]:
    """The values of a part of a form; their words, and those that stand for themselves, are taken from `rest`."""
    values = []
    for word in pattern:
        if not rest or (word.islower() and rest[0] != word):
            found = f'"{rest[0]}"' if rest else "the end"
            raise ValueError(f"{found} where {word} is expected; the step is: {form}")
        if word.islower():
            del rest[0]
        else:
            values.append(_take_value(word, rest, folder))
    return values


def _take_value(kind: str, rest: list[str], folder: Path) -> Any:
    match kind:
        case "TIME":
            return _take_measure(rest, _PER_SECOND, 0.001, LONGEST_S, "as 400 ms or 2.5 s, at most 600 s")
        case "LOSS":
            return _take_measure(rest, {"dB": 1.0}, 0.0, MOST_LOSS_DB, "as 20 dB, at most 90 dB")
        case "DESTINATION":
            return rest.pop(0)
        case "KEYS":
            keys = rest.pop(0)
            if not re.fullmatch(r"[0-9*#]{1,32}", keys):
                raise ValueError(
                    f'KEYS "{keys}" must be at most 32 of 0 to 9, * and #; one that begins with # needs quotation marks'
                )
            return keys
    name = rest.pop(0)
    try:
        return sound_named(name, folder)
    except ValueError as error:
        raise ValueError(f'SOUND "{name}" {error}') from None


def _take_measure(rest: list[str], units: Mapping[str, float], low: float, high: float, allowed: str) -> float:
    """A number with its unit, in one word or in two."""
    written = rest.pop(0)
    found = _MEASURE.fullmatch(written)
    unit = found[2] if found else ""
    if found and not unit and rest:
        unit = rest.pop(0)
        written = f"{written} {unit}"
    value = float(found[1]) / units[unit] if found and unit in units else -1.0
    if not low <= value <= high:
        raise ValueError(f'"{written}" must be {allowed}')
    return value


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
