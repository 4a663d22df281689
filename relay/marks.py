"""The marks of a verdict: kept, broken, not judged."""


def marks(encoding: str | None) -> dict[bool | None, str]:
    """The marks for kept, broken and not judged, in signs that this encoding has."""
    try:
        "✓✗".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return {True: "ok", False: "NO", None: "??"}
    return {True: "✓", False: "✗", None: "?"}
