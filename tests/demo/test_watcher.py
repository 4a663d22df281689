"""What the watcher knows of the machine."""

import os

from relay.demo.watcher import starved_ms


def test_the_time_without_a_processor_is_known_and_never_falls() -> None:
    before, after = starved_ms(os.getpid()), starved_ms(os.getpid())

    assert before is not None
    assert after is not None
    assert 0 <= before <= after


def test_a_process_that_is_gone_has_none() -> None:
    assert starved_ms(2**22 + 1) is None
