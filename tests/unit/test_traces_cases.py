"""Recorded calls become cases: whose prompt it is, what counts as reviewed, and how they are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Message
from pytest_promptopt.suites.located_yaml import read_yaml
from pytest_promptopt.suites.suite_reading import read_cases, read_suite
from pytest_promptopt.traces.case_file import plan_file
from pytest_promptopt.traces.case_making import PromptCases, TraceCase, make_cases
from pytest_promptopt.traces.case_text import HEADER, case_lines
from pytest_promptopt.traces.importing import import_traces
from pytest_promptopt.traces.recorded_call import Export, Feedback, RecordedCall
from pytest_promptopt.traces.reviews import named_for_people
from tests import recorded
from tests.recorded import PROMPT, asked

TICKET = "Where is my parcel?"


def keep(text: str) -> str:
    return text


def prompt(folder: Path, text: str = PROMPT, name: str = "prompts/route.md") -> PromptFile:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return PromptFile.load(name, rootdir=folder)


def call(*texts: str | tuple[str, str], answer: str | None = "delivery", **more: Any) -> RecordedCall:
    messages = [Message("user", each) if isinstance(each, str) else Message(*each) for each in texts]
    return RecordedCall(tuple(messages), answer, **more)


def cases_of(file: PromptFile, *calls: RecordedCall, feedback: Sequence[Feedback] = ()) -> list[TraceCase]:
    made = make_cases(Export(list(calls), list(feedback)), [file], keep)
    return list(made.prompts[file.name].cases.values()) if made.prompts else []


class TestWhoseRequestItIs:
    def test_the_inputs_are_read_back(self, tmp_path: Path) -> None:
        (case,) = cases_of(prompt(tmp_path), call(asked(TICKET)))
        assert case.inputs == {"ticket": TICKET}
        assert case.id.startswith("where-is-my-parcel-")

    def test_the_same_question_is_one_case(self, tmp_path: Path) -> None:
        seen = [call(asked(TICKET), answer=answer, trace=str(n)) for n, answer in enumerate("abb")]
        (case,) = cases_of(prompt(tmp_path), *seen)
        assert (case.seen, case.recorded, dict(case.answers)) == (3, "b", {"a": 1, "b": 2})

    def test_one_call_that_two_tools_have_recorded_is_counted_once(self, tmp_path: Path) -> None:
        twice = [
            call(asked(TICKET), trace="t", span="1"),
            call(asked(TICKET), trace="t", span="2", model="m"),
        ]
        (case,) = cases_of(prompt(tmp_path), *twice)
        assert (case.seen, case.models) == (1, ["m"])

    def test_turns_after_a_system_prompt_are_messages(self, tmp_path: Path) -> None:
        system = ("system", asked(TICKET))
        (case,) = cases_of(prompt(tmp_path), call(system, "Hello", ("assistant", "Hi"), "And now?"))
        assert [(turn.role, turn.content) for turn in case.messages] == [
            ("user", "Hello"), ("assistant", "Hi"), ("user", "And now?"),
        ]  # fmt: skip

    def test_a_request_may_hold_two_prompts(self, tmp_path: Path) -> None:
        system = prompt(tmp_path, "You are the careful clerk of a web shop.", "prompts/clerk.md")
        made = make_cases(
            Export([call(("system", system.prose), asked(TICKET))]), [prompt(tmp_path), system], keep
        )
        assert list(made.prompts) == ["prompts/clerk.md"]
        assert dict(made.left_out) == {
            "prompts/route.md: more was sent than this prompt, its variables and the turns after it": 1
        }

    @pytest.mark.parametrize(
        ("sent", "why"),
        [
            (call("Something else altogether"), "they hold the text of none of the prompts"),
            (call(asked(TICKET), "More"), "prompts/route.md: its messages were sent in other roles:"),
            (call("Hello", asked(TICKET)), "prompts/route.md: more was sent than this prompt"),
            (call(asked(TICKET), ("tool", "x")), "prompts/route.md: turns of other roles"),
            (call(asked(TICKET), incomplete="it holds calls of tools"), "prompts/route.md: it holds calls"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_a_case_is_told(self, tmp_path: Path, sent: RecordedCall, why: str) -> None:
        made = make_cases(Export([sent]), [prompt(tmp_path)], keep)
        (reason,) = made.left_out
        assert reason.startswith(why)
        assert not made.prompts

    def test_a_value_that_cannot_be_read_back_is_told(self, tmp_path: Path) -> None:
        file = prompt(
            tmp_path, "List all of these items, please:{% for item in items %} {{ item }}{% endfor %}"
        )
        made = make_cases(Export([call("List all of these items, please: a b")]), [file], keep)
        (reason,) = made.left_out
        assert reason.startswith("prompts/route.md: `items` is used in {% for")


class TestWhatPeopleSaid:
    def said(self, tmp_path: Path, *said: Feedback, answers: str = "a") -> TraceCase:
        calls = [
            call(asked(TICKET), answer=answer, span=f"s{n}", trace=f"t{n}")
            for n, answer in enumerate(answers)
        ]
        (case,) = cases_of(prompt(tmp_path), *calls, feedback=said)
        return case

    def test_nobody(self, tmp_path: Path) -> None:
        assert self.said(tmp_path).expected is None

    def test_that_it_is_right(self, tmp_path: Path) -> None:
        case = self.said(tmp_path, Feedback("quality", True, span="s0", label="correct"))
        assert (case.expected, case.said) == ("a", ["quality: correct"])

    def test_that_it_is_wrong(self, tmp_path: Path) -> None:
        case = self.said(
            tmp_path, Feedback("quality", True, span="s0", label="Thumbs_Down", explanation="late")
        )
        assert (case.expected, case.recorded, case.said) == (None, "a", ["quality: Thumbs_Down (late)"])

    def test_what_would_be_right(self, tmp_path: Path) -> None:
        case = self.said(tmp_path, Feedback("output", True, trace="t0", correction="b"))
        assert case.expected == "b"

    def test_a_model_makes_nothing_right(self, tmp_path: Path) -> None:
        case = self.said(tmp_path, Feedback("judge", False, span="s0", label="correct", value=1.0))
        assert (case.expected, case.said) == (None, [])

    @pytest.mark.parametrize(
        "name", ["user-feedback", "userFeedback", "human_rating", "Thumbs up", "expert.label"]
    )
    def test_some_scores_are_named_for_people(self, name: str) -> None:
        assert named_for_people(name)

    @pytest.mark.parametrize("name", ["user_satisfaction", "human-likeness", "feedback", "correctness", ""])
    def test_others_may_be_a_models(self, name: str) -> None:
        assert not named_for_people(name)

    def test_a_number_of_a_known_scale(self, tmp_path: Path) -> None:
        one = Feedback("thumbs", True, span="s0", value=1.0)
        assert self.said(tmp_path, one).expected is None  # it may be one of five stars
        assert self.said(tmp_path, one, Feedback("thumbs", True, span="?", value=0.0)).expected == "a"
        assert self.said(tmp_path, one, Feedback("thumbs", True, span="?", value=3.0)).expected is None
        assert (
            self.said(tmp_path, Feedback("thumbs", True, span="s0", value=1.0, is_switch=True)).expected
            == "a"
        )

    def test_people_contradict_each_other(self, tmp_path: Path) -> None:
        right = [Feedback("quality", True, span=f"s{n}", label="good") for n in (0, 1)]
        assert self.said(tmp_path, *right, answers="ab").expected is None
        assert self.said(tmp_path, *right, answers="aa").expected == "a"
        wrong = Feedback("quality", True, span="s1", label="bad")
        assert self.said(tmp_path, right[0], wrong, answers="aa").expected is None

    def test_of_a_trace_with_several_calls_nobody_knows_which(self, tmp_path: Path) -> None:
        calls = [call(asked(f"{TICKET} {n}"), trace="t", span=f"s{n}") for n in (1, 2)]
        said = [Feedback("quality", True, trace="t", label="good")]
        assert [case.expected for case in cases_of(prompt(tmp_path), *calls, feedback=said)] == [None, None]


class TestRedaction:
    def test_ids_and_texts_have_what_is_left(self, tmp_path: Path) -> None:
        def hide(text: str) -> str:
            return text.replace("ann@example.com", "someone").replace("bob@example.com", "someone")

        texts = [f"I am {who}@example.com" for who in ("ann", "bob")]
        calls = [call(asked(text), answer=f"Hello {text}", trace=text) for text in texts]
        made = make_cases(Export(calls), [prompt(tmp_path)], hide)
        (case,) = made.prompts["prompts/route.md"].cases.values()  # the same question, once it is redacted
        assert (case.inputs, case.recorded) == ({"ticket": "I am someone"}, "Hello I am someone")
        assert case.id.startswith("i-am-someone-")


@pytest.fixture
def evals(tmp_path: Path) -> Callable[..., Path]:
    """Writes recorded tickets to the suite of the prompt, and says where it is."""

    def write(*tickets: str, answer: str | None = "delivery") -> Path:
        prompt(tmp_path)
        export = tmp_path / "export.jsonl"
        recorded.write_lines(
            export, [recorded.observation(t, answer or "", n) for n, t in enumerate(tickets)]
        )
        file = PromptFile.load("prompts/route.md", rootdir=tmp_path)
        (tmp_path / "evals").mkdir(exist_ok=True)
        done = import_traces([export], [file], tmp_path / "evals", tmp_path, redact=keep)
        assert [each.path.name for each in done.files] == ["route.traces.promptopt.yaml"]
        return done.files[0].path

    return write


class TestTheFile:
    def test_it_is_a_suite_whose_cases_wait_for_a_review(
        self, tmp_path: Path, evals: Callable[..., Path]
    ) -> None:
        suite = read_suite(evals("one", "two"), tmp_path)
        assert suite.prompts == ("../prompts/route.md",)
        assert [each.id.rpartition("-")[0] for each in suite.skipped] == ["one", "two"]
        assert {each.reason.partition(":")[0] for each in suite.skipped} == {"not reviewed"}
        assert not suite.cases

    def test_who_reviews_renames_one_word(self, tmp_path: Path, evals: Callable[..., Path]) -> None:
        path = evals("one", "two")
        path.write_text(path.read_text().replace("recorded:", "expected:", 1).replace(HEADER, ""))
        (case,) = read_suite(path, tmp_path).cases
        assert (case.inputs, case.expected) == ({"ticket": "one"}, "delivery")
        assert read_cases(path, tmp_path) == (case,)

    def test_a_table_of_nothing_but_unreviewed_cases_is_told(
        self, tmp_path: Path, evals: Callable[..., Path]
    ) -> None:
        with pytest.raises(
            SettingsError, match=r"route\.traces\.promptopt\.yaml:\d+: no case in it is reviewed"
        ):
            read_cases(evals("one"), tmp_path)

    def test_another_export_adds_what_is_new(self, evals: Callable[..., Path]) -> None:
        before = evals("one", "two").read_bytes()
        after = evals("two", "three").read_bytes()
        assert after.startswith(before)
        assert after.count(b"- id:") == 3

    def test_nothing_new_writes_nothing(self, evals: Callable[..., Path]) -> None:
        path = evals("one")
        path.chmod(0o444)
        before = path.stat().st_ino
        evals("one")
        assert path.stat().st_ino == before

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("recorded: delivery", "expected: account   # no parcel"),
            ("- id: one-", "- id: another-name-"),
            ("cases:\n", "samples: 3\ncases:\n\n# mine\n"),
            ("\n", "\r\n"),
            ("  - id: one", "  # - id: one"),
        ],
    )
    def test_the_edits_of_a_reviewer_stay(self, evals: Callable[..., Path], old: str, new: str) -> None:
        path = evals("one", "two")
        edited = path.read_bytes().replace(old.encode(), new.encode())
        if new.startswith("  #"):  # a case that somebody does not want: it does not come back
            lines = edited.decode().split("\n")
            start = next(n for n, line in enumerate(lines) if line.startswith("  # - id: one"))
            lines[start + 1 : start + 5] = [f"  # {line.strip()}" for line in lines[start + 1 : start + 5]]
            edited = "\n".join(lines).encode()
        path.write_bytes(edited)
        after = evals("one", "two", "three").read_bytes()
        assert after.startswith(edited)
        assert after[len(edited) :].count(b"- id:") == 1
        assert after[len(edited) :].count(b"\r\n") in (0, after[len(edited) :].count(b"\n"))

    @pytest.mark.parametrize(
        "end", ["cases: []\nmodel: demo\n", "cases: [{ticket: a, expected: b}]\n", "cases: table.csv\n"]
    )
    def test_a_file_that_cannot_take_more_is_told(self, evals: Callable[..., Path], end: str) -> None:
        path = evals("one")
        text = "prompt: ../prompts/route.md\n" + end
        path.write_text(text)
        (path.parent / "table.csv").write_text("ticket,expected\na,b\n")
        with pytest.raises(SettingsError, match=r"route\.traces\.promptopt\.yaml:2: "):
            evals("two")
        assert path.read_text() == text

    def test_two_prompts_of_one_name_have_files_of_their_own(self, tmp_path: Path) -> None:
        files = [prompt(tmp_path, PROMPT, f"{folder}/route.md") for folder in ("a", "b")]
        written = []
        for file in (*files, files[0]):
            cases = {"k": TraceCase({"ticket": file.name}, ())}
            planned = plan_file(PromptCases(file, cases), tmp_path, tmp_path)
            planned.write(tmp_path)
            written.append((planned.path.name, len(planned.added)))
        assert written == [
            ("route.traces.promptopt.yaml", 1),
            ("b-route.traces.promptopt.yaml", 1),
            ("route.traces.promptopt.yaml", 0),
        ]


TEXTS = st.text(st.characters(codec="utf-8"), max_size=60) | st.text(
    "ab \n\t\r:#-'\"|>{}[]\u2028\x85", max_size=20
)


class TestWhatIsWritten:
    @given(
        st.dictionaries(st.sampled_from(["ticket", "no", "a"]), TEXTS, min_size=1),
        st.lists(st.tuples(st.sampled_from(["user", "assistant"]), TEXTS.filter(str.strip)), max_size=2),
        TEXTS | st.recursive(st.none() | st.integers() | st.floats() | TEXTS, st.lists).map(json.dumps),
        st.sampled_from(["", "  ", "      "]),
    )  # fmt: skip
    def test_it_is_read_back_as_it_was(
        self, inputs: dict[str, str], turns: list[tuple[str, str]], answer: str, indent: str
    ) -> None:
        case = TraceCase(inputs, tuple(Message(*turn) for turn in turns), seen=1)
        case.answers[answer] += 1
        case.answers["another"] += 2
        case.right.append(answer)
        case.said += [answer]
        text = "cases:\n" + "".join(f"{line}\n" for line in case_lines(case, indent))
        (read,) = read_yaml(text, "a.yaml").value["cases"]
        assert read["inputs"] == inputs
        assert [(turn["role"], turn["content"]) for turn in read.get("messages", ())] == turns
        expected = read["expected"]
        assert expected == answer or expected == json.loads(answer)

    def test_an_answer_of_json_is_compared_as_json(self) -> None:
        case = TraceCase({"a": "b"}, ())
        case.answers['{"city":  "Paris", "nights": 2}'] += 1
        assert case_lines(case, "")[-1] == '  recorded: {"city": "Paris", "nights": 2}'

    def test_texts_of_several_lines_stay_readable(self) -> None:
        case = TraceCase({"mail": "Dear shop,\n\nwhere is it?\n  Ann"}, ())
        assert case_lines(case, "  ")[2:8] == [
            "    inputs:",
            "      mail: |-",
            "        Dear shop,",
            "",
            "        where is it?",
            "          Ann",
        ]


class TestChats:
    """Prompts of several turns, and with a system message in their front matter."""

    CHAT = """---
system: You are the clerk of {{ shop }}.
---
user:
Which queue is for this ticket?
{{ ticket }}
"""

    def test_the_system_message_is_a_part_of_the_prompt(self, tmp_path: Path) -> None:
        sent = call(("system", "You are the clerk of Acme."), f"Which queue is for this ticket?\n{TICKET}")
        (case,) = cases_of(prompt(tmp_path, self.CHAT), sent)
        assert (case.inputs, case.messages) == ({"shop": "Acme", "ticket": TICKET}, ())

    def test_turns_after_it_are_messages(self, tmp_path: Path) -> None:
        sent = call(
            ("system", "You are the clerk of Acme."),
            f"Which queue is for this ticket?\n{TICKET}",
            ("assistant", "delivery"),
            "Are you sure?",
        )
        (case,) = cases_of(prompt(tmp_path, self.CHAT), sent)
        assert [turn.content for turn in case.messages] == ["delivery", "Are you sure?"]

    def test_without_the_system_message_a_value_is_lacking(self, tmp_path: Path) -> None:
        sent = Export([call(f"Which queue is for this ticket?\n{TICKET}")])
        made = make_cases(sent, [prompt(tmp_path, self.CHAT)], keep)
        assert dict(made.left_out) == {"prompts/route.md: the value of `shop` is not in the request": 1}
