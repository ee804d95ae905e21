"""The rooms of the package: who may import whom, and who may know pytest."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import pytest_promptopt

PACKAGE = Path(pytest_promptopt.__file__).parent

#: From the ground up. A room imports only from floors below its own, never from a neighbour.
FLOORS = (
    {"wire_records", "verdicts"},
    {
        "records",
        "errors",
        "statistics",
        "rate_interval",
        "settings",
        "unpatched",
        "text",
        "file_writing",
        "user_frames",
    },
    {"gate_rule", "thresholds"},
    {
        "attachments",
        "completion",
        "failed_checks",
        "labels",
        "marked_lines",
        "partial_credit",
        "prompt_check",
        "results",
        "tags",
        "project_dir",
        "refusals",
        "shared_database",
        "single_flight",
        "stage_trace",
        "weak_cache",
    },
    {"response_cache", "journal", "model_comparison", "baselines"},
    {"budget"},
    {"models", "failures", "prompts"},
    {"optimizer", "assertions", "grading", "mutation"},
    {"strategies", "gate", "reports", "spans"},
    {"suites"},
    {"replay", "option_values", "traces"},
    {"runs", "option_table", "interception"},
    {"driver"},
    {"scripting", "loaded_prompt", "testing"},
    {"api"},
    {"pytest_engine", "options", "option_combinations", "hookspecs"},
    {"pytest_session"},
    {"plugin"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

KNOW_PYTEST = ("plugin", "options", "option_combinations", "hookspecs", "pytest_engine", "pytest_session")

#: Imported in every pytest session of a machine that has the package, used or not.
ALWAYS_IMPORTED = (
    "plugin",
    "options",
    "option_combinations",
    "option_table",
    "option_values",
    "hookspecs",
    "settings",
    "records",
    "wire_records",
    "records.content",
    "records.chat",
    "records.grades",
    "verdicts",
    "errors",
    "unpatched",
    "suites",
    "suites.file_endings",
)
HEAVY = {"anthropic", "litellm", "rich", "deepdiff", "jinja2", "jsonschema", "opentelemetry", "yaml"}


@dataclass(frozen=True)
class Import:
    """One imported module; `lazy` when it is inside a function or for type checkers only."""

    module: str
    line: int
    lazy: bool


def name_of(path: Path) -> str:
    """``reports.check_report`` for its file, ``reports`` for the package's."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def imports(source: str) -> Iterator[Import]:
    def visit(node: ast.AST, lazy: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            if base == "pytest_promptopt":
                yield from (Import(f"{base}.{alias.name}", node.lineno, lazy) for alias in node.names)
            else:
                yield Import(base, node.lineno, lazy)
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            inside = True
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    return visit(ast.parse(source), False)


MODULES = {
    name_of(path): list(imports(path.read_text(encoding="utf-8")))
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
}


def offenders(name: str, found: list[Import]) -> list[str]:
    return [f"{name}:{i.line} imports {i.module}" for i in found]


def upwards(name: str, found: list[Import]) -> list[Import]:
    """The imports of module `name` that do not go down."""
    own = name.split(".")[0]
    rooms = [(i, i.module.split(".")[1]) for i in found if i.module.startswith("pytest_promptopt.")]
    return [i for i, room in rooms if room not in (own, "__version__") and FLOOR[room] >= FLOOR[own]]


def is_at_the_door(name: str) -> bool:
    return name in KNOW_PYTEST or name.split(".")[0] in KNOW_PYTEST


def test_every_module_belongs_to_a_room() -> None:
    assert {name.split(".")[0] for name in MODULES} - set(FLOOR) == set(), (
        "give a new room its place in FLOORS"
    )


def test_imports_go_down_only() -> None:
    assert [line for name, found in MODULES.items() for line in offenders(name, upwards(name, found))] == []


def test_imports_are_absolute() -> None:
    relative = {name: [i for i in found if i.module.startswith(".")] for name, found in MODULES.items()}
    assert [line for name, found in relative.items() for line in offenders(name, found)] == []


def test_only_the_rooms_at_the_door_know_pytest() -> None:
    inside = {
        name: [i for i in found if i.module.split(".")[0] in ("pytest", "_pytest")]
        for name, found in MODULES.items()
        if not is_at_the_door(name)
    }
    assert [line for name, found in inside.items() for line in offenders(name, found)] == []


@pytest.mark.parametrize("name", [name for name in MODULES if name in ALWAYS_IMPORTED])
class TestWhatEverySessionImports:
    def test_it_names_nothing_heavy(self, name: str) -> None:
        heavy = [i for i in MODULES[name] if not i.lazy and i.module.split(".")[0] in HEAVY]
        assert offenders(name, heavy) == []

    def test_it_loads_nothing_heavy_on_the_way(self, name: str) -> None:
        script = f"import sys, pytest_promptopt.{name}; print(*sorted({HEAVY!r} & set(sys.modules)))"
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert run.stdout.strip() == ""


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "helpers", "common", "core", "misc"}
    assert [name for name in MODULES if drawers & set(name.split("."))] == []


class TestTheRulesThemselves:
    """Each rule sees what it is there to see."""

    def test_an_import_upwards_is_seen_wherever_it_stands(self) -> None:
        source = "from pytest_promptopt import plugin\ndef later():\n    import pytest_promptopt.gate\n"
        assert offenders("records", upwards("records", list(imports(source)))) == [
            "records:1 imports pytest_promptopt.plugin",
            "records:3 imports pytest_promptopt.gate",
        ]

    def test_neighbours_do_not_import_each_other(self) -> None:
        found = list(imports("from pytest_promptopt.prompts import PromptFile"))
        assert upwards("failures.feedback", found) == found
        assert upwards("prompts.files", found) == []
        assert upwards("optimizer.run", found) == []

    def test_lazy_means_inside_a_function_or_for_type_checkers(self) -> None:
        source = (
            "import yaml\nif TYPE_CHECKING:\n    import rich.live\n"
            "class A:\n    import jinja2\n    def b(self):\n        import anthropic\n"
        )
        assert {i.module: i.lazy for i in imports(source)} == {
            "yaml": False,
            "rich.live": True,
            "jinja2": False,
            "anthropic": True,
        }
