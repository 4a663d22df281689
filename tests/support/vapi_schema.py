"""The types of Vapi's own library, read from its source: which JSON fits them, and examples that do.

The library is read and not imported, because making its 770 models takes 15 s. Its models let properties through that
they do not know, and its enums every value; here neither is allowed. Names of properties are those of the JSON.
"""

import ast
import importlib.util
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

TEXTS = (
    "",
    "x",
    "Hello, how can I help you?",
    "\u00dcber 20 \u20ac \U0001f600",
    'line\nbreak "quoted" \\',
    "word " * 400,
)
DEPTH_MAX = 3


@dataclass(frozen=True)
class Scalar:
    """A `str`, `bool`, `float`, `int` or `datetime`, a `None`, or an `Any`."""

    name: str


@dataclass(frozen=True)
class Choice:
    values: tuple[str, ...]


@dataclass(frozen=True)
class Array:
    item: "Type"


@dataclass(frozen=True)
class Table:
    item: "Type"


@dataclass(frozen=True)
class OneOf:
    options: tuple["Type", ...]


@dataclass(frozen=True)
class Property:
    type: "Type"
    required: bool


class Model:
    """A JSON object. Its properties are read when they are asked for: models hold each other."""

    def __init__(self, source: "Source", node: ast.ClassDef) -> None:
        self._source = source
        self._node = node
        self.name = node.name

    @cached_property
    def properties(self) -> Mapping[str, Property]:
        return dict(self._read())

    def _read(self) -> Iterator[tuple[str, Property]]:
        for line in self._node.body:
            if (
                isinstance(line, ast.AnnAssign)
                and isinstance(line.target, ast.Name)
                and line.target.id != "model_config"
            ):
                yield (
                    _alias(line.annotation) or line.target.id,
                    Property(self._source.type_of(line.annotation), not _has_default(line.value)),
                )


Type = Scalar | Choice | Array | Table | OneOf | Model


class Source:
    """One file of the library."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tree = ast.parse(path.read_text())
        self._classes = {line.name: line for line in self._tree.body if isinstance(line, ast.ClassDef)}
        self._aliases = {
            line.targets[0].id: line.value
            for line in self._tree.body
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)
        }
        self._imports = {
            name.name: line
            for line in ast.walk(self._tree)  # some stand under `if TYPE_CHECKING`
            if isinstance(line, ast.ImportFrom) and line.level
            for name in line.names
        }

    def method(self, of: str, name: str) -> ast.FunctionDef:
        return next(it for it in self._classes[of].body if isinstance(it, ast.FunctionDef) and it.name == name)

    def named(self, name: str) -> Type:
        """The type of this name, here or where it is imported from."""
        if name in self._classes:
            return Model(self, self._classes[name])
        if name in self._aliases:
            return self.type_of(self._aliases[name])
        found = self._imports[name]
        folder = self._path.parents[found.level - 1]
        return source(folder.joinpath(*str(found.module).split(".")).with_suffix(".py")).named(name)

    def type_of(self, node: ast.expr) -> Type:
        match node:
            case ast.Constant(value=None):
                return Scalar("None")
            case ast.Constant(value=str(name)):
                return self.named(name)
            case ast.Name(id="str" | "bool" | "float" | "int" as name) | ast.Attribute(attr="datetime" | "Any" as name):
                return Scalar(name)
            case ast.Name(id=name):
                return self.named(name)
            case ast.Subscript(value=ast.Attribute(attr=generic), slice=inner):
                parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                return self._generic(generic, parts)
        raise NotImplementedError(ast.unparse(node))

    def _generic(self, name: str, parts: list[ast.expr]) -> Type:
        match name:
            case "Annotated":
                return self.type_of(parts[0])
            case "Literal":
                return Choice(tuple(part.value for part in parts if isinstance(part, ast.Constant)))  # type: ignore[misc]
            case "Optional":
                return OneOf((self.type_of(parts[0]), Scalar("None")))
            case "List" | "Sequence":
                return Array(self.type_of(parts[0]))
            case "Dict":
                return Table(self.type_of(parts[1]))
            case "Union":
                options = [self.type_of(part) for part in parts]
                closed = [option for option in options if option != Scalar("Any")]
                return closed[0] if len(closed) == 1 else OneOf(tuple(closed))
        raise NotImplementedError(name)


@cache
def source(path: Path) -> Source:
    return Source(path)


def library(module: str) -> Source:
    """A module of the library, such as "types.call"."""
    found = importlib.util.find_spec("vapi")
    assert found is not None
    assert found.origin is not None
    return source(Path(found.origin).parent.joinpath(*module.split(".")).with_suffix(".py"))


def call_body() -> Mapping[str, Property]:
    """The properties of the body of `POST /call`, which the library writes in a method of its client."""
    client = library("calls.raw_client")
    method = client.method("RawCallsClient", "create")
    hints = {one.arg: one.annotation for one in method.args.kwonlyargs if one.annotation is not None}
    body = next(it.value for it in ast.walk(method) if isinstance(it, ast.keyword) and it.arg == "json")
    assert isinstance(body, ast.Dict)
    properties = {}
    for key, value in zip(body.keys, body.values, strict=True):
        names = [part.id for part in ast.walk(value) if isinstance(part, ast.Name) and part.id in hints]
        assert isinstance(key, ast.Constant)
        properties[str(key.value)] = Property(client.type_of(hints[names[0]]), required=False)
    return properties


def misfits(value: object, kind: Type, path: str = "", *, closed: bool = True) -> list[str]:
    """What of a JSON value does not fit, as paths; nothing if all does. Of several types the best that fits counts.

    `closed`: an object may have no other properties.
    """
    match kind:
        case OneOf(options):
            return _fewest(misfits(value, option, path, closed=closed) for option in options)
        case Model():
            return object_misfits(value, kind.properties, path, closed=closed)
        case Choice(values):
            return [] if value in values else [f"{path}: {value!r} is not listed"]
        case Array(item) if isinstance(value, list):
            parts = enumerate(value)
            return [wrong for at, part in parts for wrong in misfits(part, item, f"{path}[{at}]", closed=closed)]
        case Table(item) if isinstance(value, dict):
            named = value.items()
            return [wrong for name, part in named for wrong in misfits(part, item, f"{path}.{name}", closed=closed)]
        case Scalar(name) if _is(value, name):
            return []
    return [f"{path}: {type(value).__name__} is no {kind}"]


def _fewest(lists: Iterator[list[str]]) -> list[str]:
    """The first that is empty, or the shortest: models have hundreds of options, so the rest is not looked at."""
    found = []
    for each in lists:
        if not each:
            return each
        found.append(each)
    return min(found, key=len)


def object_misfits(
    value: object, properties: Mapping[str, Property], path: str = "", *, closed: bool = True
) -> list[str]:
    """As `misfits`, for a JSON object of these properties."""
    if not isinstance(value, dict):
        return [f"{path}: {type(value).__name__} is no object"]
    unknown = [f"{path}.{name} should not exist" for name in value if closed and name not in properties]
    missing = [f"{path}.{name} is missing" for name, one in properties.items() if one.required and name not in value]
    wrong = [
        each
        for name, part in value.items()
        if name in properties
        for each in misfits(part, properties[name].type, f"{path}.{name}", closed=closed)
    ]
    return unknown + missing + wrong


def example(kind: Type, chance: random.Random, depth: int = 0) -> Any:
    """A JSON value that fits: each time another. Numbers are whole, written as JavaScript does."""
    match kind:
        case OneOf(options):
            scalars = [one for one in options if not isinstance(one, Model)]
            return example(chance.choice(scalars if scalars and depth > DEPTH_MAX else options), chance, depth)
        case Model():
            return {
                name: example(one.type, chance, depth + 1)
                for name, one in kind.properties.items()
                if one.required or (depth < DEPTH_MAX and chance.random() < 0.5)
            }
        case Choice(values):
            return chance.choice(values)
        case Array(item):
            return [example(item, chance, depth + 1) for _ in range(0 if depth > DEPTH_MAX else chance.randrange(3))]
        case Table(item):
            return {chance.choice(TEXTS): example(item, chance, depth + 1) for _ in range(chance.randrange(3))}
        case Scalar(name):
            return chance.choice(_EXAMPLES[name])


_EXAMPLES: Mapping[str, tuple[Any, ...]] = {
    "None": (None,),
    "bool": (False, True),
    "str": TEXTS,
    "int": (0, 1, 2**31),
    "float": (0, 1, 7, 1732812557123),
    "datetime": ("2026-11-28T12:00:00.000Z",),
    "Any": (None, True, 0, 1.5, "x", [], {}, {"id": "x"}, [{"role": "user"}]),
}


def _is(value: object, name: str) -> bool:
    match name:
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "bool":
            return isinstance(value, bool)
        case "None":
            return value is None
        case "Any":
            return True
    return isinstance(value, str)


def _alias(annotation: ast.expr) -> str | None:
    for part in ast.walk(annotation):
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id == "FieldMetadata":
            (alias,) = (it.value for it in part.keywords if it.arg == "alias")
            assert isinstance(alias, ast.Constant)
            return str(alias.value)
    return None


def _has_default(value: ast.expr | None) -> bool:
    """`x: T` and `x: T = pydantic.Field()` have none."""
    if isinstance(value, ast.Call):
        return bool(value.args) or any(it.arg in {"default", "default_factory"} for it in value.keywords)
    return value is not None
