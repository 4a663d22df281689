"""The packages that only some installations have."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from relay.errors import ConfigError
from relay.extras import PACKAGES, extra


def test_they_are_the_extras_of_the_wheel() -> None:
    pyproject = Path(__file__).resolve().parent.parent / "pyproject.toml"
    extras = tomllib.loads(pyproject.read_text())["project"]["optional-dependencies"]

    assert set(extras) == set(PACKAGES)
    for name, wanted in extras.items():
        assert all(Requirement(one).name.startswith(PACKAGES[name]) for one in wanted)


@pytest.mark.parametrize("module", ["matplotlib", "matplotlib.axes"])
def test_a_package_that_is_missing_is_told_in_one_line_with_its_extra_and_who_needs_it(module: str) -> None:
    with pytest.raises(ConfigError) as caught, extra("plot", "--plot"):
        raise ModuleNotFoundError(name=module)

    assert str(caught.value) == ('--plot needs matplotlib, which is not installed: install relay with its extra "plot"')


@pytest.mark.parametrize("module", ["numpy", "matplotlib_base", None])
def test_a_module_that_the_package_lacks_is_a_fault_like_any_other(module: str | None) -> None:
    with pytest.raises(ModuleNotFoundError), extra("plot", "--plot"):
        raise ModuleNotFoundError(name=module)
