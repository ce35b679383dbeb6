"""Options from dataclasses: a command's parameter that is a Params or Spec dataclass becomes one option per field.

Name, type and default of an option are those of its field, its help is the first sentence of the field's docstring, and
a field without a default is an argument. `options.SHAPES` lists what differs on the command line: other flags, bounds,
comma lists. A field with one name in two dataclasses of a command is one option for both.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cache, wraps
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from featureinterp.cli.options import NOT_OPTIONS, SHAPES, Shape
from featureinterp.knobs import field_docs

_MISSING = dataclasses.MISSING


@dataclasses.dataclass(frozen=True)
class Selection:
    """Fields of a dataclass that are options of a command, by name; a nested dataclass is a field too."""

    names: tuple[str, ...]
    are_left_out: bool = False

    def has(self, path: tuple[str, ...]) -> bool:
        """Return whether the field at a path of names is selected."""
        return any(name in self.names for name in path) != self.are_left_out


def only(*names: str) -> Selection:
    """Select the named fields; the selection annotates a parameter, as in `Annotated[DataSpec, ...]`."""
    return Selection(names)


def without(*names: str) -> Selection:
    """Select all other fields."""
    return Selection(names, are_left_out=True)


@dataclasses.dataclass(frozen=True)
class FieldOption:
    """One option or argument of a command, and the dataclass field behind it."""

    parameter: str
    """Parameter of the command that receives the dataclass."""
    path: tuple[str, ...]
    """Names of the nested fields, from that dataclass on."""
    owner: type
    """Dataclass that declares the field."""
    type: Any
    default: object
    """Value in Python; `dataclasses.MISSING` if required."""

    @property
    def name(self) -> str:
        """Name of the field and of the command line's parameter."""
        return self.path[-1]

    @property
    def shape(self) -> Shape:
        """Form on the command line."""
        return SHAPES.get(self.name, Shape())

    @property
    def help(self) -> str:
        """First sentence of the field's docstring."""
        return first_sentence(_docs(self.owner).get(self.name, ""))

    @property
    def shown_default(self) -> Any:  # noqa: ANN401 - of the option's type
        """Default on the command line."""
        return self.shape.show(self.default) if self.shape.show else self.default

    def value(self, given: Any) -> object:  # noqa: ANN401 - of the option's type
        """Return the field's value for a value of the command line.

        Raises:
            InputError: if it cannot be read.
        """
        return self.shape.read(given) if self.shape.read else given

    def parameter_of_typer(self) -> inspect.Parameter:
        """Return the option as a parameter that Typer reads."""
        shape, kind = self.shape, inspect.Parameter.KEYWORD_ONLY
        bounds: dict[str, Any] = {"min": shape.min, "max": shape.max}
        if self.default is _MISSING:
            info = typer.Argument(metavar=shape.metavar, help=self.help, **bounds)
            return inspect.Parameter(self.name, kind, annotation=Annotated[shape.type or self.type, info])
        info = typer.Option(
            *(shape.flags or self._flags()),
            help=self.help,
            metavar=shape.metavar,
            rich_help_panel=shape.panel,
            **bounds,
        )
        annotation = Annotated[shape.type or self.type, info]
        return inspect.Parameter(self.name, kind, annotation=annotation, default=self.shown_default)

    def _flags(self) -> tuple[str, ...]:
        words = self.name.replace("_", "-")
        return (f"--{words}/--no-{words}",) if self.default is True else (f"--{words}",)


def first_sentence(doc: str) -> str:
    """Return the first sentence of a docstring on one line.

    >>> first_sentence("Tokens per window, such as 32. Without BOS.")
    'Tokens per window, such as 32.'
    """
    head, full_stop, _ = doc.partition(". ")
    return head + full_stop.strip()


def field_options(function: Callable[..., Any]) -> list[FieldOption]:
    """Return the options that a command's dataclass parameters become; an option of two dataclasses is listed twice.

    Raises:
        TypeError: if two fields of one name differ in default or help.
    """
    found: dict[str, FieldOption] = {}
    every: list[FieldOption] = []
    for name, hint, default in _dataclass_parameters(function):
        for option in _options_of(name, hint, default):
            twin = found.setdefault(option.name, option)
            if (twin.shown_default, twin.help) != (option.shown_default, option.help):
                raise TypeError(f"{option.name} of {twin.owner.__name__} and of {option.owner.__name__} differ")
            every.append(option)
    return every


def with_fields_as_options(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command that has options in the place of its dataclass parameters."""
    options = field_options(function)
    parts = {name: (hint, default) for name, hint, default in _dataclass_parameters(function)}
    hints = get_type_hints(function, include_extras=True)

    @wraps(function)
    def command(**given: Any) -> None:
        fields: dict[str, dict[tuple[str, ...], object]] = {name: {} for name in parts}
        for option in options:
            value = given[option.name]
            if value != option.shown_default:
                fields[option.parameter][option.path] = option.value(value)
        made = {name: _made(hint, default, fields[name]) for name, (hint, default) in parts.items()}
        names = {option.name for option in options}
        function(**{name: value for name, value in given.items() if name not in names}, **made)

    parameters = _signature(function, hints, options)
    command.__dict__["__signature__"] = inspect.Signature(parameters)
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def _signature(
    function: Callable[..., Any], hints: Mapping[str, Any], options: list[FieldOption]
) -> list[inspect.Parameter]:
    """Return the parameters of the command, each field's in the place of its dataclass."""
    parameters: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        own = [option for option in options if option.parameter == name]
        for option in own:
            parameters.setdefault(option.name, option.parameter_of_typer())
        if not own:
            parameters[name] = parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
    return list(parameters.values())


def _dataclass_parameters(function: Callable[..., Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, annotation and default (None without one) of the parameters that are dataclasses."""
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if dataclasses.is_dataclass(_bare(hints[name])):
            yield name, hints[name], None if parameter.default is parameter.empty else parameter.default


def _bare(hint: Any) -> Any:  # noqa: ANN401 - a type, or one of typing's
    """Return a type without its annotations, and the dataclass of an optional one."""
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    inner = [each for each in get_args(bare) if dataclasses.is_dataclass(each)]
    return inner[0] if inner else bare


def _options_of(parameter: str, hint: Any, default: object) -> Iterator[FieldOption]:  # noqa: ANN401 - as above
    selection = next((each for each in get_args(hint) if isinstance(each, Selection)), without())

    def options(owner: Any, instance: object, path: tuple[str, ...]) -> Iterator[FieldOption]:  # noqa: ANN401 - a class
        types = get_type_hints(owner)
        for field in dataclasses.fields(owner):
            here, kind = (*path, field.name), types[field.name]
            if field.name in NOT_OPTIONS or not field.init:
                continue
            value = _default(field) if instance is None else getattr(instance, field.name)
            if dataclasses.is_dataclass(_bare(kind)):
                yield from options(_bare(kind), value, here)
            elif selection.has(here):
                yield FieldOption(parameter, here, owner, kind, value)

    return options(_bare(hint), default, ())


def _default(field: dataclasses.Field[Any]) -> Any:  # noqa: ANN401 - the field's value
    """Return a field's default; None for a new instance of a dataclass, whose fields have their own.

    An instance would not do: it may have replaced a default, such as the name of the simulator.
    """
    if dataclasses.is_dataclass(field.default_factory):
        return None
    return field.default if field.default_factory is _MISSING else field.default_factory()


def _made(hint: Any, default: object, values: Mapping[tuple[str, ...], object]) -> Any:  # noqa: ANN401 - an instance
    """Return a dataclass with values by path; one that is optional and has none stays as it is."""
    owner = _bare(hint)
    types = get_type_hints(owner)
    changes: dict[str, object] = {path[0]: value for path, value in values.items() if len(path) == 1}
    for head in {path[0] for path in values if len(path) > 1}:
        inner = {path[1:]: value for path, value in values.items() if path[0] == head}
        current = next(
            _default(field) if default is None else getattr(default, head)
            for field in dataclasses.fields(owner)
            if field.name == head
        )
        changes[head] = _made(types[head], current, inner)
    return owner(**changes) if default is None else dataclasses.replace(default, **changes)  # type: ignore[type-var]


@cache
def _docs(owner: type) -> dict[str, str]:
    return field_docs(owner)
