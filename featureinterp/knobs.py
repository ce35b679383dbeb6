"""Knobs: the fields of a Params dataclass as options that can be given as text.

Fields of a dataclass inside another are named with a dot: `mining.rule_cost`. A field's docstring is its help.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping
from operator import attrgetter
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from featureinterp.errors import InputError

ParamsT = TypeVar("ParamsT")


@dataclasses.dataclass(frozen=True)
class Knob:
    """One option."""

    name: str
    type: Any
    default: object
    doc: str
    """The field's docstring, on one line; empty if it has none."""

    def __str__(self) -> str:
        words = self.doc.rstrip(".")
        return f"{self.name}={_as_text(self.default)}" + (f" ({words})" if words else "")


def knobs(params: object) -> dict[str, Knob]:
    """Return the knobs of a Params object by name; their defaults are its values.

    Raises:
        InputError: if the types of its fields cannot be resolved.
    """
    return {knob.name: knob for knob in _knobs(params, "")}


def _knobs(params: Any, prefix: str) -> Iterator[Knob]:  # noqa: ANN401 - an instance of any dataclass
    of = type(params)
    try:
        types = get_type_hints(of)
    except (AttributeError, NameError, TypeError) as error:
        raise InputError(
            f"the types of {of.__qualname__} cannot be resolved: {error}", "import the names that they use"
        ) from error
    docs = field_docs(of)
    for field in dataclasses.fields(params):
        if not field.init:
            continue
        value = getattr(params, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from _knobs(value, f"{prefix}{field.name}.")
        else:
            yield Knob(f"{prefix}{field.name}", types[field.name], value, docs.get(field.name, ""))


def field_docs(params: type) -> dict[str, str]:
    """Return the docstrings of a dataclass's fields, each on one line; fields without accessible source are omitted.

    >>> @dataclasses.dataclass
    ... class Params:
    ...     n: int = 1
    ...     '''How many.'''
    >>> field_docs(Knob)["doc"]
    "The field's docstring, on one line; empty if it has none."
    """
    docs: dict[str, str] = {}
    for each in reversed(params.__mro__):
        try:
            [tree] = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        except (OSError, TypeError, SyntaxError, ValueError):
            continue
        body = getattr(tree, "body", [])
        for field, doc in zip(body, body[1:], strict=False):
            match field, doc:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    docs[name] = " ".join(text.split())
    return docs


def read_pairs(pairs: Iterable[str], flag: str) -> dict[str, str]:
    """Read options such as `depth=2`.

    Args:
        pairs: options as typed.
        flag: flag of the options, such as `-E`.

    Raises:
        InputError: if one is not `key=value`, or a key is given twice.

    >>> read_pairs(["n=3", "text=a=b"], "-E")
    {'n': '3', 'text': 'a=b'}
    """
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            raise InputError(f"{flag} {pair!r} cannot be read", f"write {flag} key=value")
        if key in options:
            raise InputError(f"{flag} {key} is given twice", "give it once")
        options[key] = value.strip()
    return options


def unknown_option(name: str, owner: str, known: Iterable[Knob]) -> InputError:
    """Return the error for an unknown option of a part; the hint lists the known ones."""
    told = "; ".join(map(str, known))
    return InputError(f"the {owner} has no option {name!r}", f"its options: {told}" if told else "it has none")


def with_options(params: ParamsT, options: Mapping[str, object], owner: str, hidden: Collection[str] = ()) -> ParamsT:
    """Return a copy of a Params object with options set.

    Args:
        params: the parameters.
        options: name -> value, or its text.
        owner: owner of the options for errors, such as `explainer tree`.
        hidden: knobs with another option, which the hint omits.

    Raises:
        InputError: if there is no such knob, a value is not of its type, or the dataclass rejects it.
    """
    if not options:
        return params
    known = knobs(params)
    for name in options:
        if name not in known:
            raise unknown_option(name, owner, [knob for knob in known.values() if knob.name not in hidden])
    values = {name: _read(value, known[name], owner) for name, value in options.items()}
    try:
        return _replaced(params, values)
    except (TypeError, ValueError) as error:
        raise InputError(f"the {owner} rejects {', '.join(options)}: {error}") from error


def knob_values(params: object, names: Iterable[str]) -> dict[str, object]:
    """Return the values of knobs by name.

    >>> knob_values(Knob("n", int, 1, ""), ["default"])
    {'default': 1}
    """
    return {name: attrgetter(name)(params) for name in names}


def _replaced(params: Any, values: Mapping[str, object]) -> Any:  # noqa: ANN401 - an instance of any dataclass
    changes: dict[str, Any] = {name: value for name, value in values.items() if "." not in name}
    for head in dict.fromkeys(name.partition(".")[0] for name in values if "." in name):
        inner = {name.partition(".")[2]: value for name, value in values.items() if name.startswith(f"{head}.")}
        changes[head] = _replaced(getattr(params, head), inner)
    return dataclasses.replace(params, **changes) if changes else params


def _read(value: object, knob: Knob, owner: str) -> object:
    given = _parsed(value, knob.type) if isinstance(value, str) else value
    try:
        read = msgspec.convert(given, knob.type, strict=not isinstance(value, str))
    except (msgspec.ValidationError, TypeError, ValueError, NotImplementedError, RecursionError) as error:
        raise InputError(
            f"option {knob.name} of the {owner} cannot be {_as_text(value)}: {error}", f"the default: {knob}"
        ) from error
    if not _is_finite(read):
        raise InputError(f"option {knob.name} of the {owner} is {_as_text(value)}", "expected a finite number")
    return read


def _parsed(text: str, wanted: Any) -> Any:  # noqa: ANN401 - a type, or one of typing's
    """Return a value as JSON: null for `none` if the type allows None, an array for `1,2`."""
    options = get_args(wanted) if get_origin(wanted) is not tuple else ()
    if NoneType in options and text.strip().lower() in ("none", "null"):
        return None
    arrays = [each for each in (wanted, *options) if get_origin(each) in (tuple, list, set, frozenset)]
    if not arrays:
        return text
    items = [each for each in get_args(arrays[0]) if each is not ...] or [str]
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    return [_parsed(part, items[min(place, len(items) - 1)]) for place, part in enumerate(parts)]


def _is_finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return all(map(_is_finite, value)) if isinstance(value, tuple | list | set | frozenset) else True


def _as_text(value: object) -> str:
    """Return a value in the form of the command line."""
    if isinstance(value, tuple | list):
        return ",".join(map(_as_text, value))
    return "none" if value is None else repr(value) if isinstance(value, str) else f"{value}"
