"""Registries: names of parts, and how a name becomes the part itself.

A part is registered as `"module:object"`, and imported on use. Parts of other packages need no
line here: they are named as `module:object`, or by an entry point of their package.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import is_dataclass
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, TypeVar

from featureinterp.errors import InputError

_PLACE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")

_FAULTS = (ArithmeticError, AttributeError, ImportError, LookupError, NameError, OSError, RuntimeError)
_FAULTS_OF_MODULES = (*_FAULTS, SyntaxError, TypeError, ValueError)
"""Errors of a module's code during its import."""

Entry = Callable[..., Any]
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


class Registry(dict[str, str]):
    """Name -> `"module:object"`, for one kind of part."""

    def __init__(
        self, kind: str, places: Mapping[str, str], group: str = "", other_kinds: Collection[str] = ()
    ) -> None:
        """Register the parts of this package.

        Args:
            kind: kind of the parts for errors, such as `explainer`.
            places: name -> `module:object` of each part.
            group: group of entry points for other packages; empty for none.
            other_kinds: prefixes of names that are not `module:object`, such as `openai` in `openai:gpt-4.1`.
        """
        super().__init__(places)
        self.kind = kind
        self.group = group
        self._other_kinds = other_kinds

    def choices(self) -> list[str]:
        """Return all registered names, including those of entry points, sorted."""
        return sorted({*self, *(point.name for point in self._points())})

    def has(self, name: str) -> bool:
        """Whether a name is registered, or `module:object` of an installed module; imports nothing."""
        return self._place(name) is not None

    def check(self, name: str) -> str:
        """Return a name that `has` knows; imports nothing.

        Raises:
            InputError: if there is no such part; the hint lists the choices.
        """
        if not self.has(name):
            raise self.unknown(name)
        return name

    def unknown(self, name: str) -> InputError:
        """Return the error for a name that is not known."""
        module = name.partition(":")[0] if _PLACE.fullmatch(name) else ""
        why = f": no module {module!r} is installed or on PYTHONPATH" if self.group and module else ""
        known = f"one of: {', '.join(self.choices())}" if self.choices() else ""
        own = "module:object for your own" if self.group else ""
        return InputError(f"there is no {self.kind} {name!r}{why}", f"use {', or '.join(filter(None, (known, own)))}")

    def load(self, name: str) -> Entry:
        """Import the part of that name.

        Raises:
            InputError: if there is no such part, its module cannot be imported or lacks it, or it cannot be called.
        """
        entry = self.load_object(name)
        if not callable(entry):
            raise InputError(f"the {self.kind} {name!r} is {type(entry).__name__}", "name a class or a function")
        return entry

    def load_object(self, name: str) -> object:
        """Import the object of that name, for parts that are not called.

        Raises:
            InputError: if there is no such part, or its module cannot be imported or lacks it.
        """
        place = self._place(name)
        if place is None:
            raise self.unknown(name)
        return imported(place, f"{self.kind} {name!r}")

    def _place(self, name: str) -> str | None:
        if name in self:
            return self[name]
        if not self.group:
            return None
        if _PLACE.fullmatch(name):
            module = name.partition(":")[0]
            return name if module not in {*self, *self._other_kinds} and _is_installed(module) else None
        if ":" in name or "/" in name:
            return None
        return next((point.value for point in self._points() if point.name == name), None)

    def _points(self) -> list[Any]:
        return list(entry_points(group=self.group)) if self.group else []


def _is_installed(module: str) -> bool:
    """Whether the package of a module is installed; the module itself may be missing."""
    try:
        return find_spec(module.partition(".")[0]) is not None
    except ValueError:  # a module without a specification, such as __main__
        return True


def imported(place: str, what: str) -> Any:  # noqa: ANN401 - whatever stands there
    """Import what stands at a `module:object` place that a user or another package named.

    Args:
        place: module and object.
        what: the object in words, for errors.

    Raises:
        InputError: if the module cannot be imported or lacks the object.
    """
    try:
        return load(place)
    except _FAULTS_OF_MODULES as error:
        raise InputError(
            f"the {what} cannot be imported: {type(error).__name__}: {error}",
            "give module:object; the module must be installed or on PYTHONPATH, and import without an error",
        ) from error


def load(place: str) -> Entry:
    """Import the object of a `module:object` name."""
    module, _, name = place.partition(":")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def with_params(params: type) -> Callable[[FunctionT], FunctionT]:
    """Mark a function in a registry as accepting `params=`, an instance of this dataclass.

    A class declares the same by an attribute: `Params = TheDataclass`.
    """

    def marked(function: FunctionT) -> FunctionT:
        function.__dict__["Params"] = params
        return function

    return marked


def params_of(entry: Entry) -> type | None:
    """Return the dataclass of an entry's parameters; None if it has none.

    Raises:
        InputError: if its `Params` is not a dataclass.
    """
    params = getattr(entry, "Params", None)
    if params is not None and not (isinstance(params, type) and is_dataclass(params)):
        raise InputError(
            f"Params of {entry_name(entry)} is not a dataclass", "decorate it with @dataclass(frozen=True)"
        )
    return params


def entry_name(entry: Entry) -> str:
    """Return an entry's own name, for messages."""
    return getattr(entry, "__qualname__", repr(entry))


def make(entry: Entry, *given: object, **offered: object) -> Any:  # noqa: ANN401 - the entry's own return type
    """Call an entry with the given arguments, and those of the offered keyword arguments that it accepts.

    Raises:
        InputError: if it needs an argument that is not offered.
    """
    signature = inspect.signature(entry)
    takes_all = any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values())
    taken = {name: value for name, value in offered.items() if takes_all or name in signature.parameters}
    try:
        signature.bind(*given, **taken)
    except TypeError as error:
        raise InputError(
            f"{entry_name(entry)} cannot be called: {error}",
            f"arguments: {len(given)} positional, and those of {', '.join(offered)} that it accepts by name",
        ) from error
    return entry(*given, **taken)
