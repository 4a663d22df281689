#!/usr/bin/env python3
"""Make the tables of the configuration in docs/reference.md from config.toml, which is their source.

In config.toml the comment above a table or a key is its meaning. A table or key that is only an example begins with "#"
and no space. The secrets are a list of NAME and meaning in the head of the file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG, REFERENCE = ROOT / "config.toml", ROOT / "docs" / "reference.md"
BEGIN = "<!-- Made from config.toml by `make docs`: change that file. -->"
END = "<!-- The end of what `make docs` makes. -->"

_SECRET = re.compile(r"#   ([A-Z_]+) +(.+)")
_TABLE = re.compile(r"#?(\[+([a-z_]+)\]+)")
_KEY = re.compile(r"#?([a-z_]+) = (.+)")
_UNITS = {"_per_s": "1/s", "_ms": "ms", "_s": "s", "_hz": "Hz", "_db": "dB", "_mb": "MB", "_days": "days"}


@dataclass(frozen=True, slots=True)
class Secret:
    name: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Table:
    """`header` is the line in the file, such as "[server]"."""

    header: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Key:
    """`name` has the table in front; `default` is TOML."""

    name: str
    default: str
    meaning: str

    @property
    def unit(self) -> str:
        return next((unit for suffix, unit in _UNITS.items() if self.name.endswith(suffix)), "")


def read(config: str) -> Iterator[Secret | Table | Key]:
    """What the text of config.toml says, in its order."""
    table, comment = "", ""
    for line in config.splitlines():
        if secret := _SECRET.fullmatch(line):
            yield Secret(secret[1], secret[2])
        elif found := _TABLE.fullmatch(line):
            table = found[2]
            yield Table(found[1], comment)
        elif key := _KEY.fullmatch(line):
            yield Key(f"{table}.{key[1]}", key[2], comment)
        comment = f"{comment} {line[2:]}".strip() if line.startswith("# ") else ""


def tables(config: str) -> str:
    """The same as Markdown."""
    lines = ["### Secrets", "", "| name | meaning |", "|---|---|"]
    for entry in read(config):
        match entry:
            case Secret(name=name, meaning=meaning):
                lines.append(f"| `{name}` | {meaning} |")
            case Table(header=header, meaning=meaning):
                lines += ["", f"### {header}", ""] + ([meaning, ""] if meaning else [])
                lines += ["| key | default | unit | meaning |", "|---|---|---|---|"]
            case Key(name=name, default=default, unit=unit, meaning=meaning):
                lines.append(f"| `{name}` | `{default}` | {unit} | {meaning} |")
    return "\n".join(lines)


def renewed(reference: str, config: str) -> str:
    """The text of the reference with the tables that belong to this configuration."""
    before, _, rest = reference.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables(config)}\n\n{END}{after}"


def main() -> None:
    REFERENCE.write_text(renewed(REFERENCE.read_text(), CONFIG.read_text()))


if __name__ == "__main__":
    main()
