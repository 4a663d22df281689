"""A finding is what was measured of one question; the settings that follow from all of them are written as TOML."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Value = str | int | float | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one question came to.

    found: in words, without any secret or address of a call.
    note: what is to be done, or why nothing is; shown where no key follows.
    keys: configuration keys, as "barge_in.old_turn_ms", with the values that follow.
    failed: it could not be measured, or it shows what keeps calls from working.
    """

    found: str
    note: str = ""
    keys: Mapping[str, Value] = field(default_factory=dict)
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A question with its answer, as the table and `--json` show it."""

    question: str
    expected: str
    answer: Answer

    @property
    def setting(self) -> str:
        """The keys that follow, or else the note."""
        return ", ".join(f"{key} = {_toml(value)}" for key, value in self.answer.keys.items()) or self.answer.note

    def as_json(self) -> dict[str, str]:
        return {
            "question": self.question,
            "expected": self.expected,
            "found": self.answer.found,
            "setting": self.setting,
        }


def config_that_follows(findings: Iterable[Finding], given: Mapping[str, Value], *, ladder_entry: bool = False) -> str:
    """The keys of all findings as TOML that `relay.config_file.load` reads.

    given: keys that belong to it whatever was found, such as the assistant's id.
    ladder_entry: the keys of [vapi] are those of an entry of [[assistants]].
    """
    keys = dict(given)
    for finding in findings:
        keys.update(finding.answer.keys)
    tables: dict[str, dict[str, Value]] = {}
    for place, value in keys.items():
        table, _, key = place.partition(".")
        tables.setdefault(table, {})[key] = value
    return "\n".join(
        line
        for table, values in tables.items()
        for line in (
            "[[assistants]]" if table == "vapi" and ladder_entry else f"[{table}]",
            *(f"{key} = {_toml(value)}" for key, value in values.items()),
        )
    )


def _toml(value: Value) -> str:
    """JSON writes texts, numbers, booleans and lists of texts as TOML does."""
    return json.dumps(value)
