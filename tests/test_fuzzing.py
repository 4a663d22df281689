"""Whatever comes from the network, its parser reads it or raises what it documents: it neither crashes nor hangs.

`make fuzz` looks further, guided by what the code does.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.parsers import PARSERS, NetworkParser


@st.composite
def spoilt(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """Good input of which some parts are missing, doubled or replaced."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, len(data)))
        end = draw(st.integers(begin, min(len(data), begin + 20)))
        new = draw(st.binary(max_size=20) | st.just(data[begin:end] * 2) | st.sampled_from(seeds))
        data = data[:begin] + new + data[end:]
    return data


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
def test_whatever_comes_is_read_or_refused(parser: NetworkParser) -> None:
    @given(spoilt(parser.seeds) | st.binary(max_size=300))
    def read(data: bytes) -> None:
        parser(data)

    read()


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
def test_the_good_input_that_others_are_made_of_is_good(parser: NetworkParser) -> None:
    """Otherwise what is spoilt of it would be refused at its first byte."""
    good = [seed for seed in parser.seeds if _is_good(parser, seed)]
    assert good


def _is_good(parser: NetworkParser, seed: bytes) -> bool:
    try:
        parser.read(seed)
    except parser.errors:
        return False
    return True
