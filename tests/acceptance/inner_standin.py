"""``standin.py`` of every example project: the fixture `prompt` as a plain function, for runs without the plugin."""

from __future__ import annotations

import house
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
        return house.reply(text)

    async def acall(self, **variables: object) -> str:
        return self(**variables)


@pytest.fixture
def prompt(request):
    return Prompt(request.node.get_closest_marker("prompt").args[0])


def pytest_configure(config):
    config.addinivalue_line("markers", "prompt(path, ...)")
