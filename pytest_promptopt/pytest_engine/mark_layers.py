"""Several ``@pytest.mark.prompt`` on one test: inner marks add to the outer ones and go before them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.pytest_engine.mark import MARK, Mark, paths_of

#: Marks that stand at one place, so that none of them is inside another.
Layer = Sequence[pytest.Mark]


@dataclass(frozen=True)
class _Given:
    """What the marks of a layer give together."""

    paths: Mapping[str, str]
    arguments: Mapping[str, Any]


def read_marks(item: pytest.Item, of_parameters: Sequence[pytest.Mark] | None = None, *, where: str) -> Mark:
    """The marks of a test as one. Raises `SettingsError` that names `where`.

    A mark that names another prompt than those inside it says nothing about this one, nor do those around it.

    :param of_parameters: the marks of its parameters, where `item` is a function that is not parametrized
        yet; None for those of the item.
    """
    paths: Mapping[str, str] = {}
    arguments: dict[str, Any] = {}
    for layer in _layers(item, of_parameters):
        given = _together(layer, where)
        if given.paths and paths and dict(given.paths) != dict(paths):
            break
        paths = paths or given.paths
        arguments = {**given.arguments, **arguments}
    return Mark.parse(paths, arguments, where=where)


def _layers(item: pytest.Item, of_parameters: Sequence[pytest.Mark] | None) -> Iterator[Layer]:
    """The prompt marks of a test, the innermost first: of its parameters, function, class, module."""
    callspec = getattr(item, "callspec", None)
    if of_parameters is None:
        of_parameters = [] if callspec is None else callspec.marks
    written = _written_on(getattr(item, "obj", None))
    own = [mark for mark in item.own_markers if not _is_in(of_parameters, mark)]
    # What a hook has added to an item, the last first: whoever adds one knows those that are there.
    yield from ([mark] for mark in reversed(_ours(own)) if not _is_in(written, mark))
    yield _ours(of_parameters)
    yield [mark for mark in _ours(own) if _is_in(written, mark)]
    for node in reversed(item.listchain()[:-1]):
        marks = _ours(node.own_markers)
        for cls in getattr(node.obj, "__mro__", ()) if isinstance(node, pytest.Class) and marks else ():
            of_class = [mark for mark in marks if _is_in(_written_on(cls, inherited=False), mark)]
            yield of_class
            marks = [mark for mark in marks if not _is_in(of_class, mark)]
        yield marks


def _ours(marks: Iterable[pytest.Mark]) -> list[pytest.Mark]:
    return [mark for mark in marks if mark.name == MARK]


def _is_in(marks: Iterable[pytest.Mark], mark: pytest.Mark) -> bool:
    return any(each is mark for each in marks)


def _written_on(thing: object, *, inherited: bool = True) -> list[pytest.Mark]:
    """The marks in the source of a function or class."""
    found: Any = getattr(thing, "pytestmark", []) if inherited else vars(thing).get("pytestmark", [])
    marks: list[Any] = found if isinstance(found, list) else [found]
    return [getattr(mark, "mark", mark) for mark in marks]


def _together(layer: Layer, where: str) -> _Given:
    """Raises `SettingsError` when two marks of a layer contradict each other."""
    paths: Mapping[str, str] = {}
    arguments: dict[str, Any] = {}
    for mark in layer:
        own, given = paths_of(mark, where=where)
        if own and paths and own != paths:
            raise SettingsError(
                f"{where}: two @pytest.mark.prompt at one place name different prompts, {_shown(paths)} and "
                f"{_shown(own)}; a test has one, or stages in one mark"
            )
        paths = paths or own
        for name, value in given.items():
            if name in arguments and arguments[name] != value:
                raise SettingsError(_contradiction(name, arguments[name], value, where))
            arguments[name] = value
    return _Given(paths, arguments)


def _contradiction(name: str, first: object, second: object, where: str) -> str:
    said = f"{where}: two @pytest.mark.prompt at one place have {name}={first!r} and {name}={second!r}"
    if name == "model":
        return (
            f"{said}; to run a test with several models use --promptopt-model={first},{second}, or a "
            "pytest.param(..., marks=pytest.mark.prompt(model=...)) for each"
        )
    return f"{said}; write it once"


def _shown(paths: Mapping[str, str]) -> str:
    return ", ".join(f"{stage}={path!r}" if stage else repr(path) for stage, path in paths.items())
