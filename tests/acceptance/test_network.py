"""Nothing is sent anywhere but to the configured models: a run in which every connection is written down."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.desk import DEMO, GOOD, TESTS, TRAIN
from tests.wire import Body, WireServer

#: Loaded by every Python of the run at its start: writes down each address that is looked up or called.
WATCH = """
import socket

def watch(name):
    original = getattr(socket.socket, name)
    def noted(self, address, *rest):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            with open({log!r}, "a") as log:
                log.write(f"{{address[0]}}:{{address[1]}}" + chr(10))
        return original(self, address, *rest)
    setattr(socket.socket, name, noted)

for name in ("connect", "connect_ex", "sendto"):
    watch(name)

looked_up = socket.getaddrinfo
def getaddrinfo(host, port, *rest, **more):
    with open({log!r}, "a") as log:
        log.write(f"{{host}}:{{port}}" + chr(10))
    return looked_up(host, port, *rest, **more)
socket.getaddrinfo = getaddrinfo
"""


LOADED = """
import sys

def pytest_unconfigure(config):
    print("loaded:", [name for name in ("anthropic", "litellm") if name in sys.modules])
"""


def addresses(folder: Path, *args: str, env: dict[str, str] | None = None, says: str = "passed") -> set[str]:
    """What a run of pytest in `folder` connects to or looks up.

    :param says: what it must print.
    """
    log = folder / "addresses.log"
    watch = folder / "watch"
    watch.mkdir(exist_ok=True)
    (watch / "sitecustomize.py").write_text(WATCH.format(log=str(log)), encoding="utf-8")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC", "OPENAI"))},
        "PYTHONPATH": os.pathsep.join([str(watch), *sys.path]),
        **(env or {}),
    }
    command = [sys.executable, "-m", "pytest", "-p", "no:asyncio", *args]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert says in done.stdout, done.stdout + done.stderr
    return set(log.read_text(encoding="utf-8").split()) if log.exists() else set()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "sort.md").write_text(GOOD.replace("Answer", "Reply"), encoding="utf-8")
    tests = "import pytest\n" + TESTS.format(train=TRAIN * 3, validation=[], heldout=[])
    (tmp_path / "test_sort.py").write_text(tests, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("\n".join(("[pytest]", *DEMO)), encoding="utf-8")
    return tmp_path


def test_demo_needs_no_network_at_all(folder: Path) -> None:
    assert addresses(folder, "--optimize") == set()


@pytest.mark.parametrize("model", ["anthropic/claude-haiku-4-5", "openai/gpt-4o-mini"])
def test_both_sdks_talk_to_their_provider_only(folder: Path, model: str) -> None:
    """Also where the environment asks litellm for its list of prices from elsewhere."""

    def answer(body: Body) -> str:
        asked = str(body["messages"][-1]["content"])
        return "<new_prompt>\nx {{ message }}\n</new_prompt>" if "<new_prompt>" in asked else "pin_blocked"

    with WireServer(answer=answer) as server:
        env = {
            "ANTHROPIC_API_KEY": "sk-test-0123456789",
            "ANTHROPIC_BASE_URL": server.url,
            "OPENAI_API_KEY": "sk-test-0123456789",
            "OPENAI_BASE_URL": f"{server.url}/v1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "False",
        }
        models = (f"--promptopt-model={model}", f"--promptopt-optimizer-model={model}")
        found = addresses(folder, "--optimize", "--promptopt-max-iterations=1", *models, env=env)
        assert server.requests
        assert found == {server.url.removeprefix("http://")}


def test_what_is_cached_needs_no_network_no_key_and_no_sdk(folder: Path) -> None:
    (folder / "conftest.py").write_text(LOADED, encoding="utf-8")
    with WireServer(answer=lambda body: "pin_blocked") as server:
        env = {"ANTHROPIC_API_KEY": "sk-test-0123456789", "ANTHROPIC_BASE_URL": server.url}
        model = "--promptopt-model=claude-haiku-4-5"
        assert addresses(folder, model, "-s", env=env) == {server.url.removeprefix("http://")}
        paid = len(server.requests)
    (folder / "addresses.log").unlink()
    assert addresses(folder, model, "-s", says="loaded: []") == set()
    assert paid == len(server.requests)
