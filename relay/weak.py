"""A callback that does not keep the object alive whose method it calls.

A part that holds a bound method of its owner makes a cycle with it: what belongs to a call would stay in memory, audio
and all, until the garbage collector looks through its oldest generation, which is rarely.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar
from weakref import WeakMethod

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


def weakly(method: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """`method`, a bound one, for a part of the object that it is bound to. Raises ReferenceError once that is gone."""
    reference = WeakMethod(method)

    def call(*arguments: Arguments.args, **named: Arguments.kwargs) -> Returned:
        alive = reference()
        if alive is None:
            raise ReferenceError("the owner of this callback is gone")
        return alive(*arguments, **named)

    return call
