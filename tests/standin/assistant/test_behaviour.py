"""The switch that takes Vapi's documents at their word changes what it says, and nothing else."""

from dataclasses import fields

from relay.standin.assistant.behaviour import Behaviour, as_documented


def test_only_what_the_documents_tell_otherwise_changes() -> None:
    usual = Behaviour(script="silent", concurrency_limit=3)
    strict = as_documented(usual)
    changed = {field.name for field in fields(Behaviour) if getattr(usual, field.name) != getattr(strict, field.name)}

    assert changed == {"properties", "monitor_in_reply", "blocked_waits", "ends_with_socket"}
    assert as_documented(strict) == strict
