"""An account of Claude Code or Codex as a model: the installed command is run once for each call.

It gets no tools, no settings and no instructions of the user's, an empty folder, and the prompt through its
standard input. What it answers and what it used is read from its JSON.
"""

from __future__ import annotations

import re
import shutil
import signal
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import Any

from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.models.cli_replies import CliReply, NoReply, read_claude, read_codex
from pytest_promptopt.models.secret_redaction import redact_secrets
from pytest_promptopt.models.unpatched_asyncio import asyncio
from pytest_promptopt.records import Answer, Request
from pytest_promptopt.unpatched import os, time

#: Each call is a process of its own that takes some hundred megabytes.
MOST_AT_ONCE = 4

#: Seconds that one answer may take. Only a backstop: the deadline is the caller's.
TIMEOUT = 900.0

#: What tells a command that it runs inside of itself, and keys, which it would bill in place of the account.
_LEFT_OUT = frozenset(
    {
        "CLAUDECODE",
        "CLAUDE_CODE_ENTRYPOINT",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "OPENAI_API_KEY",
        "CODEX_API_KEY",
    }
)


#: What gives Codex tools unless it is switched off. A version that does not know one of them passes it over.
_TOOLS_OF_CODEX = (
    "shell_tool",
    "unified_exec",
    "multi_agent",
    "image_generation",
    "apps",
    "plugins",
    "tool_suggest",
    "goals",
)


@dataclass(frozen=True)
class Program(ABC):
    """A command, and how it is asked.

    :param name: of the model that it is; `command` is what stands on PATH.
    :param install: how to get the command; `login` how it gets an account. Parts of a sentence.
    """

    name: str
    command: str
    install: str
    login: str

    @abstractmethod
    def arguments(self, model: str, system: str, schema: Mapping[str, Any] | None, folder: Path) -> list[str]:
        """What the command is called with; may write files into `folder`."""

    @abstractmethod
    def prompt(self, system: str, turns: str) -> str:
        """What it reads from its standard input."""

    @abstractmethod
    def read(self, output: str) -> CliReply:
        """What it has printed. Raises `NoReply`."""


class ClaudeCode(Program):
    """https://code.claude.com/docs/en/cli-reference"""

    def arguments(self, model: str, system: str, schema: Mapping[str, Any] | None, folder: Path) -> list[str]:
        return [
            "-p",
            *("--output-format", "json"),
            *("--tools", ""),
            *("--setting-sources", ""),
            "--strict-mcp-config",
            "--no-session-persistence",
            *("--system-prompt", system if system and _fits(system) else "Answer the message."),
            *(("--model", model) if model else ()),
            *(("--json-schema", dumps(schema)) if schema is not None else ()),
        ]

    def prompt(self, system: str, turns: str) -> str:
        return turns if _fits(system) else f"{system}\n\n{turns}"

    def read(self, output: str) -> CliReply:
        return read_claude(output)


class Codex(Program):
    """https://developers.openai.com/codex/noninteractive"""

    def arguments(self, model: str, system: str, schema: Mapping[str, Any] | None, folder: Path) -> list[str]:
        wanted = []
        if schema is not None:
            path = folder / "schema.json"
            path.write_text(dumps(schema), encoding="utf-8")
            wanted = ["--output-schema", str(path)]
        settings = (
            'approval_policy="never"',
            'web_search="disabled"',
            "project_doc_max_bytes=0",
            "tools.view_image=false",
            *(f"features.{name}=false" for name in _TOOLS_OF_CODEX),
        )
        return [
            "exec",
            "--json",
            "--ephemeral",
            "--skip-git-repo-check",
            "--ignore-user-config",
            "--ignore-rules",
            *("--sandbox", "read-only"),
            *(part for setting in settings for part in ("-c", setting)),
            *(("--model", model) if model else ()),
            *wanted,
            "-",
        ]

    def prompt(self, system: str, turns: str) -> str:
        return "\n\n".join(filter(None, (system, turns)))

    def read(self, output: str) -> CliReply:
        return read_codex(output)


_CLAUDE = ClaudeCode(
    "claude-cli",
    "claude",
    install="install Claude Code (https://code.claude.com/docs/en/setup)",
    login="run `claude` once and log in",
)
_CODEX = Codex(
    "codex-cli",
    "codex",
    install="install the Codex CLI (https://developers.openai.com/codex/cli)",
    login="run `codex login`",
)

PROGRAMS: Mapping[str, Program] = {each.name: each for each in (_CLAUDE, _CODEX)}


def _fits(argument: str) -> bool:
    """Whether a text may be an argument of a command: Linux takes 128 KiB of each."""
    return len(argument.encode("utf-8", "replace")) <= 100_000


class CliModel:
    """The model of an account that a command is logged in to.

    :param name: ``claude-cli`` or ``codex-cli``, with ``/MODEL`` for another model than the account's own.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        program, _, self._model = name.partition("/")
        self._program = PROGRAMS[program]
        self._turn = asyncio.Semaphore(MOST_AT_ONCE)

    async def connect(self) -> None:
        """Find the command. Raises `ModelError`."""
        self._found()

    async def complete(self, request: Request) -> Answer:
        self._check(request)
        command = self._found()
        async with self._turn:
            started = time.perf_counter()
            with tempfile.TemporaryDirectory(prefix="promptopt-cli-", ignore_cleanup_errors=True) as folder:
                reply = await self._asked(command, request, Path(folder))
            seconds = time.perf_counter() - started
        # An account is paid by the month: what a call costs nobody can say but that it is nothing more.
        return Answer(reply.text, request.model, reply.stop_reason, reply.usage, 0.0, seconds)

    async def aclose(self) -> None:
        """Nothing is open between two calls."""

    def _check(self, request: Request) -> None:
        """Raises `ModelError` for what no command can be told."""
        other = next(iter(request.parameters), "stop" if request.stop else "")
        if other:
            raise self._error(ErrorKind.PARAMETER, f"`{other}` cannot be set for an account of a command")
        if request.tools or any(turn.parts for turn in request.messages):
            said = "takes texts only: no tools, images, documents or results of tools"
            raise self._error(ErrorKind.BAD_REQUEST, said)

    def _found(self) -> str:
        program = self._program
        path = shutil.which(program.command)
        if path is None:
            said = f"there is no command `{program.command}` on PATH: {program.install}, and {program.login}"
            raise self._error(ErrorKind.SETUP, said)
        return path

    async def _asked(self, command: str, request: Request, folder: Path) -> CliReply:
        program = self._program
        system = "\n\n".join(turn.content for turn in request.messages if turn.role == "system")
        arguments = program.arguments(self._model, system, request.response_schema, folder)
        prompt = program.prompt(system, _turns(request))
        try:
            code, output, errors = await self._run(command, arguments, prompt, folder)
        except OSError as error:
            said = f"the command `{command}` cannot be run: {error}"
            raise self._error(ErrorKind.SETUP, said) from None
        except TimeoutError:
            raise self._error(ErrorKind.TIMEOUT, f"no answer within {TIMEOUT:g} seconds") from None
        try:
            return program.read(output)
        except NoReply as failed:
            told = failed.said or _last_lines(errors) or f"it printed nothing and ended with {code}"
            kind = failed.kind or _kind_of(told)
            how = f"; {program.login}" if kind is ErrorKind.AUTHENTICATION else ""
            raise self._error(kind, f"`{program.command}` says: {told}{how}") from None

    async def _run(
        self, command: str, arguments: list[str], prompt: str, folder: Path
    ) -> tuple[int, str, str]:
        """Exit status and output. However it ends, the command and all that it has started are gone."""
        process = await asyncio.create_subprocess_exec(
            command,
            *arguments,
            cwd=folder,
            env={name: value for name, value in os.environ.items() if name not in _LEFT_OUT},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(TIMEOUT):
                output, errors = await process.communicate(prompt.encode("utf-8", "replace"))
        finally:
            await _ended(process)
        return process.returncode or 0, output.decode("utf-8", "replace"), errors.decode("utf-8", "replace")

    def _error(self, kind: ErrorKind, message: str) -> ModelError:
        return ModelError(kind, f"{self.name}: {redact_secrets(message)}", model=self.name)


def check_command(name: str) -> None:
    """Raises `ModelError` (SETUP) when the command of a model is not installed."""
    CliModel(name)._found()


def _turns(request: Request) -> str:
    """The turns as one text: a single one as it is, several with who said them."""
    turns = [turn for turn in request.messages if turn.role != "system"]
    if len(turns) == 1:
        return turns[0].content
    told = "\n\n".join(f"<{turn.role}>\n{turn.content}\n</{turn.role}>" for turn in turns)
    return f"{told}\n\nAnswer the last turn as the assistant, with nothing around the answer."


async def _ended(process: Any) -> None:
    """End a command that still runs, with all that it has started, and close its pipes."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
    with suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            await process.wait()
    process._transport.close()  # a pipe that a grandchild has kept would stay open


def _last_lines(text: str) -> str:
    return " ".join(" ".join(text.split("\n")[-8:]).split())[-500:]


#: How the commands, and the providers behind them, say what is wrong.
_KINDS: tuple[tuple[str, ErrorKind], ...] = (
    (r"log ?in\b|logged in|api key|unauthorized|\b401\b|oauth", ErrorKind.AUTHENTICATION),
    (r"usage limit|session limit|credit balance|quota|billing", ErrorKind.PAYMENT),
    (r"overloaded|\b529\b|\b503\b", ErrorKind.OVERLOADED),
    (r"rate limit|\b429\b|too many requests", ErrorKind.RATE_LIMIT),
    (r"unexpected argument|unknown option|unrecognized", ErrorKind.SETUP),
    (r"prompt is too long|context window|too large", ErrorKind.TOO_LARGE),
    (r"model.*(?:not exist|not found|not supported|not_found)", ErrorKind.NOT_FOUND),
)


def _kind_of(said: str) -> ErrorKind:
    for words, kind in _KINDS:
        if re.search(words, said, re.IGNORECASE | re.DOTALL):
            return kind
    return ErrorKind.SERVER
