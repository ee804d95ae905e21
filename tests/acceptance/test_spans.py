"""``--promptopt-otel``: what a session does as spans of OpenTelemetry."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.acceptance.projects import Project

TESTS = """
import pytest

@pytest.mark.prompt("../prompts/repeat.md")
@pytest.mark.parametrize("word", ["a", "b", "ann@a.org"])
def test_it(prompt, word):
    assert prompt(word=word) == word.replace("b", "c")
"""

#: The host's own provider where there are several processes: it writes each span as a line.
PROVIDER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

class Lines(SpanExporter):
    def export(self, spans):
        with Path(__file__).with_name("spans.jsonl").open("a") as stream:
            stream.writelines(span.to_json(indent=None) + "\\n" for span in spans)
        return SpanExportResult.SUCCESS

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Lines()))
trace.set_tracer_provider(provider)
"""

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
OURS = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "TRACEPARENT", CONTENT)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    project = Project(pytester)
    project.write("tests/test_it.py", TESTS)
    return project


class Spans:
    """What was exported."""

    def __init__(self, spans: Iterable[str]) -> None:
        self.all: list[dict[str, Any]] = [json.loads(span) for span in spans]

    def named(self, beginning: str) -> list[dict[str, Any]]:
        return [span for span in self.all if span["name"].startswith(beginning)]

    def below(self, span: dict[str, Any]) -> list[dict[str, Any]]:
        return [each for each in self.all if each["parent_id"] == span["context"]["span_id"]]


class Host:
    """The process of the session, which has set up a tracer provider."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def finished(self) -> Sequence[ReadableSpan]:
        """The spans of the last run."""
        return self._exporter.get_finished_spans()

    def run(self, *args: str) -> tuple[pytest.RunResult, Spans]:
        """The result, and the spans of this run."""
        self._exporter.clear()
        result = self._project.run("--promptopt-otel", *args)
        return result, Spans(span.to_json() for span in self.finished())


@pytest.fixture
def host(project: Project, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(project)
    # The one global provider of a process is set once and for all.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", host.provider)
    return host


def run_apart(project: Project, *args: str) -> pytest.RunResult:
    """In a process of its own."""
    return project.pytester.runpytest_subprocess("-p", "no:asyncio", "--promptopt-otel", *args)


PARTS = ("name", "score.value", "score.label")


def evaluations(*spans: dict[str, Any]) -> list[tuple[str, float, str]]:
    return [
        tuple(event["attributes"].get(f"gen_ai.evaluation.{key}") for key in PARTS)
        for span in spans
        for event in span["events"]
        if event["name"] == "gen_ai.evaluation.result"
    ]  # fmt: skip


def test_a_check_is_a_session_with_cases_and_their_calls(host: Host) -> None:
    result, spans = host.run()
    assert result.ret == 1
    (session,) = spans.named("promptopt session")
    assert session["attributes"]["test.suite.run.status"] == "failure"
    cases = spans.below(session)
    named = [case["name"] for case in cases]
    assert {name.partition("[")[0] for name in named} == {"case tests/test_it.py::test_it"}
    assert len(set(named)) == 3, "a digest tells them apart"
    assert [case["attributes"]["test.case.result.status"] for case in cases] == ["pass", "fail", "pass"]
    calls = [call for case in cases for call in spans.below(case)]
    attributes = {k: v for k, v in calls[0]["attributes"].items() if k != "promptopt.cost_usd"}
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "house",
        "gen_ai.request.model": "house/repeat",
        "gen_ai.response.model": "house/repeat",
        "gen_ai.response.finish_reasons": ["end_turn"],
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 1,
        "promptopt.role": "target",
        "promptopt.answer.source": "model",
        "promptopt.attempts": 1,
        "promptopt.prompt": "prompts/repeat.md",
    }
    assert evaluations(*calls) == [
        ("tests/test_it.py::test_it", 1.0, "pass"),
        ("tests/test_it.py::test_it", 0.0, "fail"),
        ("tests/test_it.py::test_it", 1.0, "pass"),
    ]
    assert {span["context"]["trace_id"] for span in spans.all} == {session["context"]["trace_id"]}
    text = json.dumps(spans.all)
    assert not any(asked in text for asked in ("Repeat: ", "ann@a.org"))  # none unless they are asked for

    again = host.run()[1].named("chat")
    assert [span["attributes"]["promptopt.answer.source"] for span in again] == ["cache"] * 3
    assert not any("gen_ai.usage.input_tokens" in span["attributes"] for span in again)


def test_contents_are_shown_when_they_are_asked_for_and_redacted(
    project: Project, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONTENT, "true")
    project.append(
        "conftest.py", "\ndef pytest_promptopt_redact(text):\n    return text.replace('ann@a', 'x')\n"
    )
    spans = host.run()[1]
    calls = spans.named("chat")
    assert spans.named("case")[2]["name"] == "case tests/test_it.py::test_it[x.org]"
    assert "ann@a" not in json.dumps(spans.all)
    asked, answered = (
        [json.loads(call["attributes"][f"gen_ai.{side}.messages"])[0] for call in calls]
        for side in ("input", "output")
    )
    assert [(each["role"], each["parts"][0]["content"]) for each in asked] == [
        ("user", "Repeat: a"),
        ("user", "Repeat: b"),
        ("user", "Repeat: x.org"),
    ]
    assert answered[2] == {
        "role": "assistant",
        "parts": [{"type": "text", "content": "x.org"}],
        "finish_reason": "end_turn",
    }
    explained = calls[1]["events"][0]["attributes"]["gen_ai.evaluation.explanation"]
    assert "'b' == 'c'" in explained


def test_workers_write_below_the_session(project: Project) -> None:
    project.append("conftest.py", PROVIDER)
    assert run_apart(project, "-n", "2").ret == 1
    spans = Spans((project.path / "spans.jsonl").read_text().splitlines())
    (session,) = spans.named("promptopt session")
    cases = [span for span in spans.below(session) if span["name"].startswith("case ")]
    assert [len(spans.below(case)) for case in cases] == [1, 1, 1]
    # One worker may have paid for what another needed.
    assert (
        len([call for call in spans.named("chat ") if "gen_ai.usage.input_tokens" in call["attributes"]]) == 3
    )


def test_a_session_is_a_part_of_what_the_job_names(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", f"00-{'a' * 32}-{'b' * 16}-01")
    (session,) = host.run()[1].named("promptopt session")
    assert session["context"]["trace_id"] == "0x" + "a" * 32
    assert session["parent_id"] == "0x" + "b" * 16


def test_an_optimization_has_iterations_candidates_and_results(project: Project, host: Host) -> None:
    project.ini("promptopt_model = demo", "promptopt_optimizer_model = demo")
    project.write("prompts/color.md", "Name the color of the thing. Thing: {{ thing }}\n")
    project.write(
        "tests/test_it.py",
        """
        import pytest

        @pytest.mark.prompt("../prompts/color.md")
        @pytest.mark.parametrize("thing", ["grass", "leaf", "moss", "fern", "ivy"])
        def test_color(prompt, thing):
            assert prompt(thing=thing) == "green"
        """,
    )
    _, spans = host.run("--optimize-dry-run", "--promptopt-max-iterations=2")
    (search,) = spans.named("promptopt optimize")
    iterations = spans.named("iteration ")
    assert iterations
    assert {each["parent_id"] for each in iterations} == {search["context"]["span_id"]}
    below = spans.below(iterations[0])
    candidates = [each for each in below if each["name"].startswith("candidate ")]
    assert candidates
    assert candidates[0]["attributes"]["promptopt.candidate"] == "1.1"
    assert any(name.startswith("pass_rate.train") for name, _, _ in evaluations(*candidates))
    roles = {each["attributes"]["promptopt.role"] for each in below if each["name"].startswith("chat ")}
    assert roles == {"target", "optimizer"}
    (scored,) = spans.named("confirm and score")
    (result,) = spans.below(scored)[-1:]
    assert result["name"] == "result prompts/color.md"
    names = [name for name, _, _ in evaluations(result)]
    assert "pass_rate.train.before" in names
    cases = spans.named("case ")
    assert [each["attributes"]["promptopt.answer.source"] for case in cases for each in spans.below(case)]


def test_what_was_done_by_ctrl_c_is_told(project: Project) -> None:
    project.append("tests/test_it.py", "\ndef test_end():\n    raise KeyboardInterrupt\n")
    project.append("conftest.py", PROVIDER)
    assert run_apart(project).ret == pytest.ExitCode.INTERRUPTED
    spans = Spans((project.path / "spans.jsonl").read_text().splitlines())
    (session,) = spans.named("promptopt session")
    assert session["attributes"]["test.suite.run.status"] == "aborted"
    assert session["status"]["status_code"] == "ERROR"
    assert len(spans.below(session)) == 3


def test_a_call_that_fails_is_an_error(project: Project, host: Host) -> None:
    project.write("tests/test_it.py", TESTS.replace('"a", "b", "ann@a.org"', '"boom"'))
    _, spans = host.run()
    (case,) = spans.named("case ")
    assert case["attributes"]["promptopt.status"] == "errored"
    (call,) = spans.named("chat ")
    assert call["attributes"]["error.type"] == "bad request"
    assert call["status"]["status_code"] == "ERROR"


def test_a_provider_that_raises_ends_the_spans_and_nothing_else(project: Project, host: Host) -> None:
    class Broken(SimpleSpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            if span.name.startswith("case "):
                raise OSError("the disk is full")

    host.provider.add_span_processor(Broken(InMemorySpanExporter()))
    result, _ = host.run()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["promptopt: no further spans: a tracer provider raised OSError: the disk is*"]
    )


class TestWhoGetsThem:
    def test_the_environment_may_name_an_exporter(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
        result = run_apart(project, "-s")
        result.stdout.fnmatch_lines(['*"name": "promptopt session"*'])

    @pytest.mark.parametrize(
        ("variable", "value", "told"),
        [
            ("OTEL_TRACES_EXPORTER", "", "nobody would get the spans: set OTEL_EXPORTER_OTLP_ENDPOINT or *"),
            ("OTEL_TRACES_EXPORTER", "nowhere", "*there is no exporter 'nowhere'; installed are *"),
        ],
    )  # fmt: skip
    def test_nobody(
        self, project: Project, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
    ) -> None:
        monkeypatch.setenv(variable, value)
        result = project.run("--promptopt-otel")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: --promptopt-otel: {told}"])
        assert not project.asked()

    def test_a_missing_package_is_named(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "opentelemetry", None)
        result = project.run("--promptopt-otel")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        told = 'OpenTelemetry is not installed: pip install "pytest-promptopt[[]otel]"'
        result.stderr.fnmatch_lines([f"ERROR: --promptopt-otel: {told}"])

    def test_nothing_is_told_unless_it_is_asked_for(self, project: Project, host: Host) -> None:
        project.run()
        assert not host.finished()


def test_what_was_told_can_be_taken_in_as_cases(
    project: Project, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONTENT, "true")
    project.write("prompts/repeat.md", "Repeat after me, and add nothing: {{ word }}\n")
    host.run()
    lines = [span.to_json(indent=None) + "\n" for span in host.finished()]
    project.write("spans.jsonl", "".join(lines))
    result = project.run("tests", "--promptopt-from-traces=spans.jsonl")
    result.stdout.fnmatch_lines(["prompts/repeat.md: 3 new cases of 3 calls, 0 of them reviewed: *"])
