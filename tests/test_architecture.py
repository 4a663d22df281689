"""The shape of the program: imports go one way, wings stack, the pure folders do no I/O, torch is never there."""

import ast
import importlib.util
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "relay"

SHARED = {
    "config",
    "config_file",
    "config_changes",
    "secrets",
    "log",
    "redaction",
    "metrics",
    "refusals",
    "wakeup",
    "weak",
    "__version__",
}

# What each folder may import of `relay`, besides itself.
ALLOWED = {
    "media": {"errors", "extras"},
    "wire": {"errors", "media.frames"},
    "logic": {"errors", "media.frames"},
    "net": {"errors", "wakeup", "weak", "__version__"},
    "state": {"errors", "logic", "metrics", "wakeup"},
    "record": {"errors", "media", "config", "redaction", "wakeup", "web", "__version__"},
    "call": {"errors", "media", "wire", "logic", "net", "state", "record", *SHARED},
    "replay": {"errors", "media", "wire", "logic", "net", "state", "record", "call", "toml_table", *SHARED},
    "daemon": {"errors", "extras", "media", "wire", "logic", "net", "state", "record", "call", "web", *SHARED},
    "demo": {"errors", "marks", "media", "wire", "record", "standin"},
    "scenario": {"errors", "marks", "media", "standin"},
    "standin": {"errors", "media", "wire", "logic", "net", "wakeup", "__version__"},
    "bench": {
        "errors",
        "media.frames",
        "standin.browser",
        "standin.echo",
        "standin.phone.signature",
        "standin.phrases",
        "standin.sound",
    },
    "watch": {"record.event_log"},
    "probe": {
        "errors",
        "media.frames",
        "wire",
        "net",
        "standin.phone.signature",
        "standin.phrases",
        "standin.sound",
        "config",
        "redaction",
    },
}
PURE = ("media", "wire", "logic")
# The wings of `relay/call`, each of which may import those before it; the files beside them belong to "".
WINGS = ("report", "caller", "playback", "assistant", "", "browser")
# The standard modules and libraries through which a pure folder would do I/O, wait, read a clock or log.
PURE_PARTS = {"threading.get_ident"}
"""Names of impure modules that neither wait nor read a clock."""
IMPURE = {
    "asyncio", "click", "httpx", "hypercorn", "logging", "os", "prometheus_client", "quart", "quart_trio",
    "requests", "rich", "select", "selectors", "signal", "socket", "ssl", "structlog", "subprocess", "threading",
    "time", "trio", "trio_websocket", "urllib.request", "wsproto",
}  # fmt: skip

# The modules that hold values and protocols only: there is nothing in them to test.
NOTHING_TO_TEST = {
    "bench/errors.py", "bench/result.py", "call/caller/leg.py", "call/services.py", "daemon/endpoint_context.py",
    "demo/promise.py", "logic/playback/frame.py", "logic/playback/ruling.py", "scenario/step.py",
}  # fmt: skip


class Import(NamedTuple):
    """One module (or module.name) that a file imports, wherever in the file it does so."""

    path: Path
    line: int
    module: str

    def __str__(self) -> str:
        return f"relay/{name(self.path)}:{self.line} imports {self.module}"


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> list[Import]:
    package = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts[:-1])
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += [Import(path, node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            found += [Import(path, node.lineno, f"{base}.{alias.name}") for alias in node.names]
    return found


def within(module: str, prefixes: set[str]) -> bool:
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


def files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((PACKAGE / folder).rglob("*.py"))]


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def wing(path: Path) -> str:
    """The folder of a file within `relay/call` or `relay/logic`; "" for a file beside the wings."""
    parts = path.relative_to(PACKAGE).parts
    return parts[1] if len(parts) > 2 else ""


def module_file(module: str) -> Path:
    """The file of a module, or of the module that a name is imported from."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    return (
        path.with_suffix(".py") if path.with_suffix(".py").exists() or path.is_dir() else path.parent.with_suffix(".py")
    )


def offending(paths: list[Path], is_wrong: Callable[[Import], bool]) -> str:
    """A line for each import of these files that is wrong, with its file and line."""
    return "\n".join(str(found) for path in paths for found in imports(path) if is_wrong(found))


def test_a_folder_imports_only_the_folders_below_it() -> None:
    def is_wrong(found: Import) -> bool:
        folder = found.path.relative_to(PACKAGE).parts[0]
        allowed = {f"relay.{part}" for part in ALLOWED[folder] | {folder}}
        return within(found.module, {"relay"}) and not within(found.module, allowed)

    wrong = offending(files(*ALLOWED), is_wrong)
    assert not wrong, wrong


def test_a_wing_of_the_call_imports_only_wings_below_it() -> None:
    def is_wrong(found: Import) -> bool:
        above = WINGS[WINGS.index(wing(found.path)) + 1 :]
        return within(found.module, {"relay.call"}) and wing(module_file(found.module)) in above

    wrong = offending(files("call"), is_wrong)
    assert not wrong, wrong


def test_the_wings_of_the_logic_do_not_know_each_other() -> None:
    def is_wrong(found: Import) -> bool:
        own = {wing(found.path), ""}
        return within(found.module, {"relay.logic"}) and wing(module_file(found.module)) not in own

    wrong = offending(files("logic"), is_wrong)
    assert not wrong, wrong


def test_no_wing_is_forgotten() -> None:
    assert {wing(path) for path in files("call")} == set(WINGS)
    assert {wing(path) for path in files("logic")} <= set(WINGS)


def test_each_module_is_tested_by_a_file_of_its_own_in_the_same_place() -> None:
    """Other tests may use it too; this one says what it does."""
    tests = Path(__file__).resolve().parent
    own = {name(path) for path in files(".") if not path.stem.startswith("__")}
    without = {module for module in own if not (tests / module).with_name(f"test_{Path(module).name}").exists()}

    assert without == NOTHING_TO_TEST


def test_every_folder_of_tests_is_run_but_the_long_ones() -> None:
    tests = Path(__file__).resolve().parent
    project = tomllib.loads((tests.parent / "pyproject.toml").read_text(encoding="utf-8"))
    run = project["tool"]["pytest"]["ini_options"]["testpaths"]
    folders = {f"tests/{path.relative_to(tests).parts[0]}" for path in tests.glob("*/**/test_*.py")}

    assert {folder for folder in folders if folder not in run} == {"tests/endurance"}


def test_one_name_means_one_thing() -> None:
    """A class name is used once in the whole tree: who searches for it finds one definition."""
    places: dict[str, list[str]] = {}
    for path in files("."):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"relay/{name(path)}:{node.lineno}")

    twice = [f"{class_name}: {', '.join(where)}" for class_name, where in places.items() if len(where) > 1]
    assert not twice, "\n".join(twice)


def test_the_pure_folders_do_no_io_and_read_no_clock() -> None:
    wrong = offending(files(*PURE), lambda found: within(found.module, IMPURE) and found.module not in PURE_PARTS)
    assert not wrong, wrong


def test_only_the_commands_import_the_commands() -> None:
    others = [path for path in files(".") if path.relative_to(PACKAGE).parts[0] not in {"cli", "__main__.py"}]
    wrong = offending(others, lambda found: within(found.module, {"relay.cli", "relay.__main__"}))
    assert not wrong, wrong


def test_a_process_that_is_started_imports_nothing_from_the_working_directory() -> None:
    """There may be a checkout of another version: an installed relay would start that one."""
    found = [
        f"relay/{name(path)}:{number}"
        for path in files(".")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if 'sys.executable, "-m"' in line
    ]
    assert not found, "\n".join(found)


def test_nothing_imports_torch_or_the_package_that_needs_it() -> None:
    wrong = offending(files("."), lambda found: within(found.module, {"torch", "torchaudio", "silero_vad"}))
    assert not wrong, wrong


@pytest.mark.parametrize("module", ["torch", "torchaudio", "silero_vad"])
def test_torch_is_not_installed(module: str) -> None:
    assert importlib.util.find_spec(module) is None


def test_the_check_sees_every_form_of_import_and_says_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the guard: a plain, a from, a relative and a nested import are all found."""
    source = tmp_path / "relay" / "media" / "x.py"
    source.parent.mkdir(parents=True)
    source.write_text("import trio.abc\nfrom relay.net import a\nfrom ..call import b\ndef f():\n    import socket\n")
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path / "relay")

    assert offending([source], lambda _: True).splitlines() == [
        "relay/media/x.py:1 imports trio.abc",
        "relay/media/x.py:2 imports relay.net.a",
        "relay/media/x.py:3 imports relay.call.b",
        "relay/media/x.py:5 imports socket",
    ]
