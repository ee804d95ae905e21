"""`similar` by meaning: embeddings of the user's model are compared, as calls like any others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.acceptance.projects import CONFTEST, Project
from tests.wire import WireServer, refused

#: Words that mean the same point in nearly the same direction.
VECTORS = {"refund": (1.0, 0.0), "reimbursement": (0.8, 0.6), "weather": (0.0, 1.0)}

#: The house makes embeddings, too.
EMBED = """
VECTORS = {"refund": [1, 0], "reimbursement": [0.8, 0.6], "weather": [0, 1]}
EMBEDDED = Path(__file__).with_name("embedded.log")

class Embedder:
    async def embed(self, texts):
        with EMBEDDED.open("a") as log:
            log.writelines(text + "\\n" for text in texts)
        if "long" in texts:
            raise ModelError(ErrorKind.BAD_REQUEST, "house/embed: 8,192 tokens at most", model="house/embed")
        return [VECTORS[text] for text in texts]

model_of = pytest_promptopt_resolve_model

def pytest_promptopt_resolve_model(name):
    return Embedder() if name == "house/embed" else model_of(name)
"""

SUITE = """\
prompt: ../prompts/repeat.md
checks:
  - similar
cases:
  - {word: reimbursement, expected: refund}
  - {word: weather, expected: refund}
  - {word: refund, expected: refund}
"""

HOUSE = "promptopt_embedding_model = house/embed"


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    project = Project(pytester, HOUSE)
    project.write("conftest.py", CONFTEST + EMBED)
    project.write("evals/words.promptopt.yaml", SUITE)
    return project


def embedded(project: Project) -> list[str]:
    log = project.path / "embedded.log"
    return sorted(log.read_text().split()) if log.exists() else []


class TestAModelOfTheUsers:
    @pytest.mark.parametrize("workers", [0, 2])
    def test_the_cosine_decides_and_the_message_says_whose(self, project: Project, workers: int) -> None:
        result = project.run(workers=workers)
        result.assert_outcomes(passed=2, failed=1)
        result.stdout.fnmatch_lines(
            [
                'E   evals/words.promptopt.yaml:6: similar "refund": got a cosine of 0.000 by house/embed, '
                "and 0.75 counts as similar"
            ]
        )

    def test_calls_are_counted_kept_and_made_once_for_equal_texts(self, project: Project) -> None:
        project.run().stdout.fnmatch_lines(["6 model calls, 0 of them from the cache; *"])
        assert embedded(project) == ["refund", "reimbursement", "weather"]
        project.run().stdout.fnmatch_lines(["6 model calls, 6 of them from the cache: nothing was paid"])
        assert len(embedded(project)) == 3

    def test_the_ceiling_holds_and_leaves_cases_without_a_verdict(self, project: Project) -> None:
        result = project.run("--promptopt-max-calls=4")
        assert len(project.asked()) + len(embedded(project)) == 4
        result.stdout.fnmatch_lines(
            ["*errored*", "*the ceiling of 4 calls is reached (--promptopt-max-calls)*"]
        )

    def test_the_letters_are_compared_without_it(self, project: Project) -> None:
        result = project.run("--promptopt-embedding-model=none")
        result.assert_outcomes(passed=1, failed=2)
        result.stdout.fnmatch_lines(['*similar "refund": got a text ratio of 0.*, and 0.8 counts as similar'])
        assert embedded(project) == []

    def test_a_check_names_another_model_or_none(self, project: Project) -> None:
        project.ini("promptopt_model = house/repeat")
        project.write(
            "evals/words.promptopt.yaml",
            """\
            prompt: ../prompts/repeat.md
            cases:
              - word: reimbursement
                checks:
                  - similar: refund
                    model: house/embed
                    threshold: 0.8
                  - not-similar: weather
                    model: demo
                  - not-similar: refund
            """,
        )
        project.run().assert_outcomes(passed=1)
        assert embedded(project) == ["refund", "reimbursement"]
        project.run("--promptopt-embedding-model=house/embed").assert_outcomes(failed=1)

    @pytest.mark.parametrize("given", ["prompt, case", "prompt, tmp_path, case"])
    def test_a_test_that_checks_a_case_by_itself_compares_the_same(
        self, project: Project, given: str
    ) -> None:
        (project.path / "evals/words.promptopt.yaml").unlink()
        project.write("words.csv", "word,check:similar\nreimbursement,refund\nweather,refund\n")
        project.tests(
            f"""
            from pytest_promptopt import cases

            @pytest.mark.prompt("prompts/repeat.md")
            @pytest.mark.parametrize("case", cases("words.csv"))
            def test_it({given}):
                case.check(prompt(**case))
            """
        )
        result = project.run()
        result.assert_outcomes(passed=1, failed=1)
        assert embedded(project) == ["refund", "reimbursement", "weather"]

    def test_an_answer_that_cannot_be_embedded_is_errored_and_not_failed(self, project: Project) -> None:
        project.write(
            "evals/words.promptopt.yaml",
            "prompt: ../prompts/repeat.md\nchecks: [similar]\ncases:\n  - {word: long, expected: refund}\n",
        )
        result = project.run()
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(
            ["E   the answer cannot be compared by embeddings: house/embed: 8,192 tokens at most"]
        )

    def test_a_model_without_embeddings_says_what_to_name(self, project: Project) -> None:
        result = project.run("--promptopt-embedding-model=house/repeat")
        result.stdout.fnmatch_lines(["*house/repeat makes no embeddings; name an embedding model, such as *"])
        result.stdout.no_fnmatch_line("*failing case*")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WireServer]:
    if find_spec("litellm") is None:
        pytest.skip("litellm is an extra")
    with WireServer(vector=lambda text: VECTORS[text]) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("OPENAI_API_BASE", f"{server.url}/v1")
        yield server


class TestOpenAI:
    """Over real HTTP."""

    MODEL = "--promptopt-embedding-model=openai/text-embedding-3-small"

    @staticmethod
    def run(project: Project, *args: str) -> pytest.RunResult:
        """In a process of its own, which loads the SDKs for itself."""
        return project.pytester.runpytest_subprocess("-p", "no:asyncio", *args)

    def test_each_text_is_sent_once_and_again_where_the_provider_is_busy(
        self, project: Project, server: WireServer
    ) -> None:
        server.script(refused(429, retry_after="0"), refused(500, retry_after="0"))
        result = self.run(project, self.MODEL)
        result.assert_outcomes(passed=2, failed=1)
        result.stdout.fnmatch_lines(["*got a cosine of 0.000 by openai/text-embedding-3-small*"])
        assert {each.path for each in server.requests} == {"/v1/embeddings"}
        texts = [each.body["input"][0] for each in server.requests]
        assert set(texts) == set(VECTORS)
        assert len(texts) == 3 + 2

    def test_a_wrong_key_errors_the_cases_after_one_call(self, project: Project, server: WireServer) -> None:
        server.weather = lambda body: refused(401, "no such key")
        result = self.run(project, self.MODEL, "--promptopt-concurrency=1")
        result.assert_outcomes(errors=3)
        result.stdout.fnmatch_lines(["E   openai/text-embedding-3-small: HTTP 401: *"])
        assert len(server.requests) == 1

    def test_a_wrong_key_ends_an_optimization(self, project: Project, server: WireServer) -> None:
        server.weather = lambda body: refused(401, "no such key")
        result = self.run(project, self.MODEL, "--optimize", "--promptopt-optimizer-model=demo")
        result.stdout.fnmatch_lines(["*HTTP 401*"])
        assert result.ret != 0
        assert (project.path / "prompts/repeat.md").read_text() == "Repeat: {{ word }}\n"
        assert len(project.asked()) == 3

    def test_a_missing_key_is_named(
        self, project: Project, server: WireServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        result = self.run(project, self.MODEL)
        result.stdout.fnmatch_lines(
            ["*no credentials for openai/text-embedding-3-small: set OPENAI_API_KEY*"]
        )


#: The house answers with the word in its own language until the prompt says otherwise.
WRITERS = """
def said(request):
    text = request.messages[-1].content
    word = text.rpartition(": ")[2].strip()
    return "refund" if "plainly" in text.lower() else "weather"

def pytest_promptopt_propose(request, ask):
    from pytest_promptopt.api import Reply
    return [Reply(brief.prose.replace("Repeat", "Plainly repeat"), reason="plain words")
            for brief in request.briefs]
"""


class TestOptimize:
    @pytest.fixture
    def project(self, project: Project) -> Project:
        project.ini(HOUSE, "promptopt_model = house/repeat", "promptopt_optimizer_model = demo")
        project.write("conftest.py", CONFTEST + EMBED + WRITERS)
        rows = "".join(f"  - {{word: w{n}, expected: reimbursement}}\n" for n in range(24))
        suite = f"prompt: ../prompts/repeat.md\nchecks:\n  - similar\ncases:\n{rows}"
        project.write("evals/words.promptopt.yaml", suite)
        return project

    @pytest.mark.parametrize("workers", [0, 2])
    def test_a_gain_in_meaning_is_confirmed_and_written(self, project: Project, workers: int) -> None:
        """Also where all vectors are known from an earlier session: they are no answers under test."""
        project.run()
        before = len(embedded(project))
        result = project.run("--optimize", workers=workers)
        assert "Plainly" in (project.path / "prompts/repeat.md").read_text()
        result.stdout.fnmatch_lines(["prompts/repeat.md: improved, *", "spend *", "*embedding *"])
        assert before == 2  # "weather" and "reimbursement"
        assert embedded(project) == ["refund", "reimbursement", "weather"]

    def test_a_model_that_is_lost_ends_the_search(self, project: Project) -> None:
        """Else each further candidate's answers are paid for, and none can be compared."""
        conftest = (project.path / "conftest.py").read_text()
        said = 'ModelError(ErrorKind.PAYMENT, "house/embed: no credit is left", model="house/embed")'
        lost = f'        if "refund" in texts:\n            raise {said}\n        return [VECTORS'
        project.write("conftest.py", conftest.replace("        return [VECTORS", lost))
        result = project.run("--optimize")
        result.stdout.fnmatch_lines(["*house/embed: no credit is left*"])
        assert len(project.asked()) <= 24 * 2
        assert "Plainly" not in (project.path / "prompts/repeat.md").read_text()

    def test_its_calls_are_in_the_journal(self, project: Project) -> None:
        project.run("--optimize-dry-run")
        (journal,) = project.path.glob(".promptopt/runs/*/journal.jsonl")
        events = [json.loads(line) for line in journal.read_text().splitlines()]
        calls = [each["data"] for each in events if each["event"] == "call"]
        assert sum(call["role"] == "embedding" for call in calls) == 3

    def test_a_run_is_gone_on_with_without_asking_again(self, project: Project) -> None:
        """Also where the cache is off: they are in the journal."""
        off = "--promptopt-cache=off"
        project.run("--optimize", off, "--promptopt-max-calls=60")
        texts = set(embedded(project))
        (project.path / "embedded.log").unlink()
        result = project.run("--optimize-resume", off, "--promptopt-max-calls=2000")
        result.stdout.fnmatch_lines(["prompts/repeat.md: improved, *"])
        assert texts == {"reimbursement", "weather"}
        # Of the search nothing is asked again; pytest's own loop afterwards has neither journal nor cache.
        assert embedded(project) == ["refund"]


PROMPTFOO = """\
prompts: ["Repeat: {{word}}"]
providers: [echo]
tests:
  - vars: {word: reimbursement}
    assert:
      - {type: similar, value: "Repeat: refund", threshold: 0.7}
  - vars: {word: refund}
    assert:
      - {type: "similar:cosine", value: ["Repeat: weather", "Repeat: refund"]}
      - {type: not-similar, value: "Repeat: weather"}
  - vars: {word: weather}
    assert:
      - {type: similar, value: "Repeat: refund"}
  - vars: {word: weather}
    assert:
      - {type: "similar:dot", value: "Repeat: refund"}
"""


class TestPromptfoo:
    @pytest.fixture
    def project(self, pytester: pytest.Pytester) -> Project:
        project = Project(pytester)
        known = EMBED.replace("VECTORS[text]", 'VECTORS[text.removeprefix("Repeat: ")]')
        project.write("conftest.py", CONFTEST + known)
        project.write("promptfooconfig.yaml", PROMPTFOO)
        return project

    def test_without_a_model_it_is_skipped_and_says_which_setting_runs_it(self, project: Project) -> None:
        result = project.run("promptfooconfig.yaml", "-rs")
        result.assert_outcomes(skipped=4)
        result.stdout.fnmatch_lines(
            [
                "SKIPPED *:6: the assertion `similar` is not supported: it compares embeddings in promptfoo, "
                "and runs with a model that makes them: --promptopt-embedding-model=PROVIDER/MODEL (ini "
                "promptopt_embedding_model)",
                "SKIPPED *:16: the assertion `similar:dot` is not supported: of embeddings only the cosine *",
            ]
        )

    def test_with_a_model_it_runs(self, project: Project) -> None:
        result = project.run("promptfooconfig.yaml", "--promptopt-embedding-model=house/embed")
        result.assert_outcomes(passed=2, failed=1, skipped=1)
        result.stdout.fnmatch_lines(
            ['E   *:13: similar "Repeat: refund" (at least 0.75): got a cosine of 0.000 by house/embed']
        )

    def test_an_import_names_the_model(self, project: Project) -> None:
        house = "--promptopt-embedding-model=house/embed"
        result = project.run("--promptopt-import=promptfooconfig.yaml", house)
        assert result.ret == 0
        result.stdout.fnmatch_lines(["*:9: similar: a list of texts is not taken over"])
        written = (project.path / "promptfooconfig.promptopt.yaml").read_text()
        assert '{similar: "Repeat: refund", threshold: 0.7, model: house/embed}' in written
        project.run("promptfooconfig.promptopt.yaml").assert_outcomes(passed=2, failed=1)
