"""What makes a pytest item this case."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from pytest_promptopt.replay.case_identity import case_identity, question_text

#: The parameter of a test that runs with several models; its id is the last part of that of the case.
MODEL_PARAMETER = "__promptopt_model"


def of_plugin(parameter: str) -> bool:
    """Whether a plugin, not the test, is what a parameter is for (pytest-repeat's step)."""
    return parameter.startswith("__")


def identity(item: pytest.Item, prompts: Sequence[str]) -> str:
    """What makes a case this case: its prompts and its parameter values, or its name when it has none.

    Adding, removing or reordering other cases changes nothing, nor does the place where pytest was started or
    the project lies, or an xdist ``@group`` suffix.

    :param prompts: paths of the prompt files, relative to the folder of the test file.
    """
    question = asked_with(item)
    return case_identity(prompts, question, _place(item) if question is None else ())


def asked_with(item: pytest.Item) -> str | None:
    """The parameter values of a test, as text; None when it has none."""
    callspec = getattr(item, "callspec", None)
    given = {} if callspec is None else callspec.params
    values = {name: value for name, value in given.items() if not of_plugin(name)}
    if callspec is None or not values:
        return None
    model = given.get(MODEL_PARAMETER)
    return question_text(values, item.path.parent, without_model(callspec.id, model))


def model_parameter(item: pytest.Item) -> str | None:
    """With which of several models of the session a test runs; None where the session has not said."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get(MODEL_PARAMETER)


def id_under_all_models(item: pytest.Item, models: Iterable[str | None]) -> str:
    """The node id without what it says of the model; empty when it says nothing of it.

    :param models: the names by which the model of the case may be told.
    """
    id = getattr(getattr(item, "callspec", None), "id", "")
    bare = next((bare for model in models if (bare := without_model(id, model)) != id), id)
    if bare == id:
        return ""
    before, _, after = item.nodeid.rpartition(f"[{id}]")
    return f"{before}[{bare}]{after}" if bare else before + after


def without_model(id: str, model: str | None) -> str:
    """The id of parameters without the part that is the name of the model."""
    if not model:
        return id
    before, found, after = f"-{id}-".rpartition(f"-{model}-")
    return f"{before}-{after}".strip("-") if found else id


def _place(item: pytest.Item) -> list[str]:
    chain = item.listchain()
    # A hook may add an item that belongs to no file; what it is part of begins with the session.
    file = next((number for number, node in enumerate(chain) if isinstance(node, pytest.File)), 0)
    names = [node.name for node in chain[file + 1 :]]
    if model_parameter(item) is not None and isinstance(item, pytest.Function):
        id = without_model(item.callspec.id, model_parameter(item))
        names[-1] = f"{item.originalname}[{id}]" if id else item.originalname
    return [item.path.name, *names]
