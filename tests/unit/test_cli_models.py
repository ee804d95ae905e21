"""The commands `claude` and `codex` as models, with small programs in their places."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.budget.ledger import Ledger
from pytest_promptopt.errors import ErrorKind, ModelError, SettingsError
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.models.prices import price_of
from pytest_promptopt.models.registry import canonical_name, check_credentials, resolve_model, takes_schema
from pytest_promptopt.models.retry import RetryPolicy
from pytest_promptopt.records import Answer, Message, Request, Role, Usage

CLAUDE = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "result": "fine",
    "stop_reason": "end_turn",
    "total_cost_usd": 0.02,
    "usage": {
        "input_tokens": 10,
        "output_tokens": 5,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 7,
    },
}
CODEX: list[Mapping[str, Any]] = [
    {"type": "thread.started", "thread_id": "t"},
    {"type": "turn.started"},
    {"type": "item.completed", "item": {"id": "0", "type": "reasoning", "text": "hm"}},
    {"type": "item.completed", "item": {"id": "1", "type": "agent_message", "text": "fine"}},
    {
        "type": "turn.completed",
        "usage": {"input_tokens": 110, "cached_input_tokens": 100, "output_tokens": 5},
    },
]


class Command:
    """A program on PATH that tells how it was called and prints what a test wants."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._seen = folder / f"{name}.seen"

    def prints(self, output: object, *, errors: str = "", code: int = 0, seconds: float = 0.0) -> None:
        text = output if isinstance(output, str) else json.dumps(output)
        if isinstance(output, list):
            text = "\n".join(json.dumps(each) for each in output)
        path = self._folder / self._name
        path.write_text(
            f"#!{sys.executable}\n"
            "import json, os, sys, time\n"
            f"seen = {{'arguments': sys.argv[1:], 'stdin': sys.stdin.read(), 'folder': os.listdir('.'),\n"
            "    'cwd': os.getcwd(), 'environment': dict(os.environ), 'pid': os.getpid()}\n"
            f"open({str(self._seen)!r}, 'a').write(json.dumps(seen) + '\\n')\n"
            f"time.sleep({seconds})\n"
            f"sys.stderr.write({errors!r})\n"
            f"print({text!r})\n"
            f"sys.exit({code})\n"
        )
        path.chmod(0o755)

    def waits(self) -> Path:
        """It does nothing for minutes; the file says which process it is."""
        path, started = self._folder / self._name, self._folder / "started"
        path.write_text(f"#!/bin/sh\necho $$ > {started}\n/bin/sleep 300\n", encoding="ascii")
        path.chmod(0o755)
        return started

    @property
    def seen(self) -> list[dict[str, Any]]:
        if not self._seen.exists():
            return []
        return [json.loads(line) for line in self._seen.read_text().splitlines()]


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, output: Any) -> Command:
    """The only command on PATH."""
    monkeypatch.setenv("PATH", str(folder))
    command = Command(folder, name)
    command.prints(output)
    return command


@pytest.fixture
def claude(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    return installed(tmp_path, monkeypatch, "claude", CLAUDE)


@pytest.fixture
def codex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    return installed(tmp_path, monkeypatch, "codex", CODEX)


def ask(model: str, *turns: Message, **fields: Any) -> Answer:
    async def complete() -> Answer:
        client = resolve_model(model)
        return await client.complete(Request(model, turns or (Message("user", "hello"),), **fields))

    return asyncio.run(complete())


def failure(model: str, *turns: Message, **fields: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        ask(model, *turns, **fields)
    assert caught.value.model == model
    return caught.value


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def test_claude_answers_with_its_usage(claude: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tools, settings and keys of the user's, in an empty folder."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-the-target")
    monkeypatch.setenv("CLAUDECODE", "1")
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", "of-the-account")
    answer = ask("claude-cli/opus", Message("system", "Be brief."), Message("user", "hello"))
    assert (answer.text, answer.stop_reason, answer.usage) == ("fine", "end_turn", Usage(10, 5, 100, 7))
    assert (answer.model, answer.cost) == ("claude-cli/opus", 0.0)
    [seen] = claude.seen
    arguments = seen["arguments"]
    assert (seen["stdin"], seen["folder"]) == ("hello", [])
    assert arguments[0] == "-p"
    assert option(arguments, "--output-format") == "json"
    assert option(arguments, "--tools") == option(arguments, "--setting-sources") == ""
    assert option(arguments, "--system-prompt") == "Be brief."
    assert option(arguments, "--model") == "opus"
    assert {"--strict-mcp-config", "--no-session-persistence"} <= set(arguments)
    assert {"ANTHROPIC_API_KEY", "CLAUDECODE"}.isdisjoint(seen["environment"])
    assert seen["environment"]["CLAUDE_CODE_OAUTH_TOKEN"] == "of-the-account"
    assert not Path(seen["cwd"]).exists()


def test_codex_answers_with_its_usage(codex: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tools, settings and keys of the user's, in an empty folder."""
    for key in ("OPENAI_API_KEY", "CODEX_API_KEY"):
        monkeypatch.setenv(key, "sk-of-the-target")
    answer = ask("codex-cli", Message("system", "Be brief."), Message("user", "hello"))
    assert (answer.text, answer.usage) == ("fine", Usage(10, 5, 100))
    assert (answer.model, answer.cost) == ("codex-cli", 0.0)
    [seen] = codex.seen
    assert (seen["stdin"], seen["folder"]) == ("Be brief.\n\nhello", [])
    assert {"OPENAI_API_KEY", "CODEX_API_KEY"}.isdisjoint(seen["environment"])
    assert not Path(seen["cwd"]).exists()
    assert seen["arguments"][:2] == ["exec", "--json"]
    assert option(seen["arguments"], "--sandbox") == "read-only"
    assert {"--ignore-user-config", "--ignore-rules", "--ephemeral"} <= set(seen["arguments"])
    settings = [after for before, after in pairwise(seen["arguments"]) if before == "-c"]
    assert settings == [
        'approval_policy="never"',
        'web_search="disabled"',
        "project_doc_max_bytes=0",
        "tools.view_image=false",
        "features.shell_tool=false",
        "features.unified_exec=false",
        "features.multi_agent=false",
        "features.image_generation=false",
        "features.apps=false",
        "features.plugins=false",
        "features.tool_suggest=false",
        "features.goals=false",
    ]
    assert seen["arguments"][-1] == "-"
    assert "--model" not in seen["arguments"]


def test_several_turns_are_one_text(claude: Command) -> None:
    ask("claude-cli", Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    said = claude.seen[0]["stdin"]
    assert said.startswith("<user>\na\n</user>\n\n<assistant>\nb\n</assistant>\n\n<user>\nc\n</user>")


def test_a_long_system_message_is_no_argument(claude: Command) -> None:
    ask("claude-cli", Message("system", "x" * 200_000), Message("user", "hello"))
    [seen] = claude.seen
    assert option(seen["arguments"], "--system-prompt") == "Answer the message."
    assert seen["stdin"] == "x" * 200_000 + "\n\nhello"


def test_a_schema_is_handed_on(claude: Command, codex: Command) -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    claude.prints({**CLAUDE, "result": "", "structured_output": {"a": 1}})
    assert ask("claude-cli", response_schema=schema).text == '{"a": 1}'
    assert json.loads(option(claude.seen[0]["arguments"], "--json-schema")) == schema
    ask("codex-cli", response_schema=schema)
    assert codex.seen[0]["folder"] == ["schema.json"]
    assert not takes_schema("claude-cli")  # whoever asks for a verdict asks for it in words


@pytest.mark.parametrize("form", [[{"type": "system"}, CLAUDE], json.dumps([{"type": "system"}, CLAUDE])])
def test_events_before_the_result_are_passed_over(claude: Command, form: object) -> None:
    claude.prints(form)
    assert ask("claude-cli").text == "fine"


def wrong(said: str, **more: Any) -> dict[str, Any]:
    return {**CLAUDE, "is_error": True, "result": said, **more}


@pytest.mark.parametrize(
    ("output", "errors", "kind", "said"),
    [
        (
            wrong("Not logged in · Please run /login"),
            "",
            ErrorKind.AUTHENTICATION,
            "run `claude` once and log in",
        ),
        (wrong("Invalid API key · Fix external API key"), "", ErrorKind.AUTHENTICATION, "log in"),
        (wrong("Claude AI usage limit reached|1790000000"), "", ErrorKind.PAYMENT, "usage limit reached"),
        (wrong("API Error: 529 Overloaded"), "", ErrorKind.OVERLOADED, "529"),
        (wrong("API Error: 429 rate limit"), "", ErrorKind.RATE_LIMIT, "429"),
        (wrong("", subtype="error_max_turns"), "", ErrorKind.SERVER, "error_max_turns"),
        (wrong("API Error: 500 the model has failed"), "", ErrorKind.SERVER, "500"),
        ("", "error: unknown option '--tools'", ErrorKind.SETUP, "unknown option '--tools'"),
        ("", "", ErrorKind.SERVER, "it printed nothing and ended with 1"),
        ("garbage {", "the model opus-9 does not exist", ErrorKind.NOT_FOUND, "opus-9"),
    ],
)
def test_what_claude_says_is_told(
    claude: Command, output: object, errors: str, kind: ErrorKind, said: str
) -> None:
    claude.prints(output, errors=errors, code=1)
    error = failure("claude-cli")
    assert error.kind is kind
    assert str(error).startswith("claude-cli: `claude` says: ")
    assert said in str(error)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("unexpected status 401 Unauthorized: Missing bearer", ErrorKind.AUTHENTICATION),
        ("You've hit your usage limit. Try again at 9:00.", ErrorKind.PAYMENT),
        ("The 'gpt-9' model is not supported", ErrorKind.NOT_FOUND),
    ],
)
def test_what_codex_says_is_told(codex: Command, said: str, kind: ErrorKind) -> None:
    codex.prints(
        [{"type": "error", "message": said}, {"type": "turn.failed", "error": {"message": said}}], code=1
    )
    error = failure("codex-cli")
    assert (error.kind, said in str(error)) == (kind, True)
    assert ("run `codex login`" in str(error)) is (kind is ErrorKind.AUTHENTICATION)


@pytest.mark.parametrize("model", ["claude-cli", "codex-cli/gpt-5"])
def test_a_missing_command_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    command = model.partition("-")[0]
    with pytest.raises(ModelError) as caught:
        check_credentials(model)
    for error in (failure(model), caught.value):
        assert error.kind is ErrorKind.SETUP
        assert f"{model}: there is no command `{command}` on PATH: install" in str(error)


@pytest.mark.parametrize(
    ("fields", "kind", "said"),
    [
        ({"parameters": {"temperature": 0.5}}, ErrorKind.PARAMETER, "`temperature` cannot be set"),
        ({"stop": ("END",)}, ErrorKind.PARAMETER, "`stop` cannot be set"),
        ({"tools": ({"name": "a", "parameters": {}},)}, ErrorKind.BAD_REQUEST, "takes texts only"),
    ],
)
def test_what_no_command_can_be_told_is_refused(
    claude: Command, fields: Any, kind: ErrorKind, said: str
) -> None:
    error = failure("claude-cli", **fields)
    assert (error.kind, said in str(error)) == (kind, True)
    assert claude.seen == []


def test_its_names_are_models(claude: Command) -> None:
    for name in ("claude-cli", "claude-cli/opus", "codex-cli", "codex-cli/gpt-5"):
        assert canonical_name(name) == name
    with pytest.raises(SettingsError, match="'claude-cli' and 'codex-cli'"):
        canonical_name("claude-cli/")
    check_credentials("claude-cli")
    price = price_of(Request("claude-cli/opus", (Message("user", "a"),)))
    assert price is not None
    assert price.of(Usage(1000, 1000)) == 0


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def until(holds: Any, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(holds())


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_a_session_that_ends_kills_the_command(claude: Command) -> None:
    """As Ctrl-C does, which reaches no process in a session of its own."""
    claude.prints(CLAUDE, seconds=300)
    client = ModelClient(resolve=resolve_model, cache=None, ledger=Ledger(), concurrency=2)
    client.submit(Request("claude-cli", (Message("user", "a"),)), Role.OPTIMIZER)
    assert until(lambda: claude.seen)
    [seen] = claude.seen
    assert alive(seen["pid"])
    client.close()
    assert until(lambda: not alive(seen["pid"]), 5.0)
    assert until(lambda: not Path(seen["cwd"]).exists(), 5.0)


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_an_attempt_that_takes_too_long_ends_the_command(claude: Command) -> None:
    started = claude.waits()
    retry = RetryPolicy(attempts=1, deadline=2.0)
    client = ModelClient(resolve=resolve_model, cache=None, ledger=Ledger(), concurrency=2, retry=retry)
    with pytest.raises(ModelError) as caught:
        client.ask(Request("claude-cli", (Message("user", "a"),)), Role.OPTIMIZER)
    assert caught.value.kind is ErrorKind.TIMEOUT
    pid = int(started.read_text(encoding="ascii"))
    assert until(lambda: not alive(pid), 5.0)
    client.close()
