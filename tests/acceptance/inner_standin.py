"""``standin.py`` of every example project: the fixture `prompt` without the plugin, a plain function."""

from __future__ import annotations

import house  # type: ignore[import-not-found]  # it lies next to this file in an example project
import pytest


class Prompt:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<Prompt {self.name}>"

    def __call__(self, **variables: object) -> str:
        text = house.content(house.HERE / self.name)
        for name, value in variables.items():
            text = text.replace("{{ " + name + " }}", str(value))
        return str(house.reply(text))

    async def acall(self, **variables: object) -> str:
        return self(**variables)


@pytest.fixture
def prompt(request: pytest.FixtureRequest) -> Prompt:
    mark = request.node.get_closest_marker("prompt")
    return Prompt(mark.args[0])


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "prompt(path, ...)")
