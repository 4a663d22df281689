"""Reads TOML tables into frozen structs; what is wrong is said in one line: file, key, value, what is allowed."""

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from relay.errors import ConfigError

S = TypeVar("S", bound=msgspec.Struct)

_USERINFO = re.compile(r"//[^/@\"]*@")
_SHOWN_CHARACTERS = 80


def problem(file: str, key: str, value: object, allowed: str) -> ConfigError:
    """The error for a value that is not allowed. Passwords inside addresses are not shown."""
    shown = _USERINFO.sub("//***@", json.dumps(value, default=str))
    if len(shown) > _SHOWN_CHARACTERS:
        shown = shown[:_SHOWN_CHARACTERS] + "..."
    return ConfigError(_one_line(f"{file}: {key} = {shown} is not allowed: {allowed}"))


def parse_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ConfigError: the file cannot be read, is not UTF-8 or is not TOML; the text has the line number.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(_one_line(f"{path}: cannot be read: {error.strerror}")) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(_one_line(f"{path}: line {line} is not UTF-8 text")) from None
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError(_one_line(f"{path}: is not TOML: nested too deeply")) from None
    except ValueError as error:
        raise ConfigError(_one_line(f"{path}: is not TOML: {error}")) from None


def check_keys(file: str, where: str, raw: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuses a key that is not known, naming the nearest one. Its value is not shown: it may be a misplaced secret."""
    for key in raw:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f'did you mean "{near[0]}"?' if near else f"allowed: {', '.join(known) or 'nothing'}"
            place = f"[{where}] has an unknown key" if where else "has an unknown table or key"
            raise ConfigError(_one_line(f'{file}: {place} "{key}"; {hint}'))


def read_table(file: str, where: str, raw: object, shape: type[S]) -> S:
    """One table as a struct. Numbers in `shape` must have bounds (which also keep out nan and inf).

    Raises:
        ConfigError: an unknown key, a wrong type, a value out of range, or a required key that is missing.
    """
    if not isinstance(raw, dict):
        raise problem(file, where, raw, "it must be a table")
    check_keys(file, where, raw, shape.__struct_fields__)
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(shape):
        key = f"{where}.{field.name}"
        if field.name in raw:
            values[field.name] = _convert(file, key, raw[field.name], field.type)
        elif field.required:
            raise ConfigError(_one_line(f"{file}: {key} is missing: {_allowed(field.type)}"))
    return shape(**values)


def _convert(file: str, key: str, value: object, wanted: Any) -> object:
    try:
        converted: object = msgspec.convert(value, wanted)
    except msgspec.ValidationError:
        raise problem(file, key, "***" if key.endswith("_file") else value, _allowed(wanted)) from None
    return converted


def _allowed(wanted: Any) -> str:
    return _describe(msgspec.inspect.type_info(wanted))


def _describe(kind: msgspec.inspect.Type) -> str:
    match kind:
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType(ge=low, le=high):
            return f"a whole number from {low} to {high}"
        case msgspec.inspect.FloatType(ge=low, le=high):
            return f"a number from {low} to {high}"
        case msgspec.inspect.LiteralType(values=values):
            return "one of " + ", ".join(json.dumps(value) for value in values)
        case msgspec.inspect.UnionType(types=types):
            return " or ".join(_describe(part) for part in types if not isinstance(part, msgspec.inspect.NoneType))
        case msgspec.inspect.VarTupleType(item_type=item):
            return f"a list of {_describe(item)}"
        case msgspec.inspect.StrType(pattern=str(pattern)):
            return f"text of the form {pattern}"
        case msgspec.inspect.StrType(min_length=int()):
            return "text that is not empty"
        case _:
            return "text"


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
