"""Training cases stand in a prompt as examples: what a case says stays text, the rest of the prompt stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example as tried
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_promptopt.prompts import PromptFile, unified_diff, write_prose
from pytest_promptopt.prompts.examples import (
    Example,
    Form,
    cases_among_examples,
    examples_in,
    fault_of_examples,
    with_examples,
    with_examples_of,
    without_each,
    without_examples,
)
from pytest_promptopt.prompts.kept_regions import kept_regions
from pytest_promptopt.records import Message

BEGIN, END = "{# promptopt: examples #}", "{# promptopt: end of examples #}"
INPUTS_BEGIN = "{# promptopt: examples, inputs only #}"

ONE_TURN = "Sort the message.\n\n{{ message }}"
CHAT = "system:\nSort for {{ shop }}.\n\nuser:\n{{ message }}\n\nIn one word:"
CARD, RATE = Example({"message": "Where is my card?"}, "card"), Example({"message": "1 EUR?"}, "rate")

#: All that has a meaning to the template language, to the cutting into turns, or to nobody's eye.
NASTY = [
    "{{", "}}", "{%", "%}", "{#", "#}", "{", "}", "{{ message }}", "{% raw %}", "{% endraw %}", "{{-", "-}}",
    "{% include 'x' %}", BEGIN, INPUTS_BEGIN, END,
    "user:", "assistant:", "System:", "system:", "user: ", "user:\u3000",
    "<!-- promptopt: keep -->", "<!-- /promptopt -->", "Examples:", "answer: x", "---",
    "\n", "\n\n", "\r\n", "\r", "\t", " ", "\x0b", "\x0c", "\x1c", "\x85",
    "\u2028", "\u2029", "\ufeff", "\u200b", "\u202e", "\U000e0041", "❤\ufe0f", "\0", "'", '"', "\\", "\\n",
    "a", "日本", '{"a": {"b": 1}}',
]  # fmt: skip

TEXTS = st.lists(st.sampled_from(NASTY) | st.text(max_size=5), max_size=8).map("".join)

#: Bodies that can be shown as turns, by what they need besides `message`.
BODIES = [
    ONE_TURN,
    CHAT,
    "{{ message }}",
    "user:\n{{message}}",
    "user:\nhi\nassistant:\nhello\n\nuser:\n  {{ message }} or {{ message }}  \n{# note #}",
    "Read {% raw %}{{ this }}{% endraw %}:\n\n\n{{- message -}}\n\nNow {{ shop }}",
]


#: Bodies that cannot.
OTHERS = ["Sort.\n{{ message | upper }}", "{{ message.strip() }}"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PromptFile]:
    folder = tmp_path_factory.mktemp("prompts")
    return {body: load(folder, body) for body in [*BODIES, *OTHERS]}


def load(folder: Path, text: str) -> PromptFile:
    path = folder / "sort.md"
    path.write_bytes(text.encode())
    return PromptFile.load(path, rootdir=folder)


def chat(file: PromptFile, prose: str, inputs: dict[str, str]) -> list[Message]:
    given = {name: inputs[name] for name in file.variables}
    return list(file.with_prose(prose).render(given))


class TestTheFormOfARegion:
    def test_a_prompt_without_roles_becomes_turns(self) -> None:
        assert with_examples(ONE_TURN, [CARD]) == (
            "{# promptopt: examples #}\n"
            "user:\n"
            "Sort the message.\n"
            "\n"
            "Where is my card?\n"
            "assistant:\n"
            "card\n"
            "user:\n"
            "{# promptopt: end of examples #}\n"
            "Sort the message.\n"
            "\n"
            "{{ message }}"
        )

    def test_the_system_turn_stays_first_and_the_last_user_turn_last(self) -> None:
        assert with_examples(CHAT, [CARD, RATE]) == (
            "system:\nSort for {{ shop }}.\n\n"
            "{# promptopt: examples #}\n"
            "user:\nWhere is my card?\n\nIn one word:\nassistant:\ncard\n"
            "user:\n1 EUR?\n\nIn one word:\nassistant:\nrate\n"
            "{# promptopt: end of examples #}\n"
            "user:\n{{ message }}\n\nIn one word:"
        )

    def test_a_block_stands_before_the_first_line_with_a_variable(self) -> None:
        several = Example({"message": "one\n\ntwo", "tone": '"dry"'}, '{"a": 1}')
        assert with_examples(ONE_TURN, [CARD, several], Form.BLOCK) == (
            "Sort the message.\n\n"
            "{# promptopt: examples #}\n"
            "Examples:\n\n"
            "message: Where is my card?\nanswer: card\n\n"
            'message: "one\\n\\ntwo"\ntone: "\\"dry\\""\nanswer: {"a": 1}\n'
            "{# promptopt: end of examples #}\n"
            "{{ message }}"
        )

    @pytest.mark.parametrize(
        ("body", "before"),
        [
            ("system:\nSort.\n", ""),
            ("system:\nSort.\nassistant:\nYes?", "assistant:\nYes?"),
            ("Sort.", ""),
            ("Sort {{ message | upper }}.", "Sort {{ message | upper }}."),
            ("Sort:\n{% for m in message %}{{ m }}{% endfor %}\nuser:\n", "{% for m"),
            ("user:\n{{ message }}\nassistant:\n{", "{{ message }}"),
            ("A chat:\nuser:\n{{ message }}", "{{ message }}"),
        ],
    )
    def test_what_does_not_end_with_a_user_turn_of_plain_variables_gets_a_block(
        self, body: str, before: str
    ) -> None:
        prose = with_examples(body, [CARD])
        region = f"{BEGIN}\nExamples:\n\nmessage: Where is my card?\nanswer: card\n{END}"
        assert region in prose
        assert prose.partition(region)[2].lstrip("\n").startswith(before)
        assert without_examples(prose) == body

    def test_turns_that_a_test_gives_by_messages_are_shown_in_a_block(self) -> None:
        prose = with_examples("You sort {{ shop }}.", [Example({"shop": "A", "user": "Where?"}, "card")])
        assert "shop: A\nuser: Where?\nanswer: card" in prose

    def test_what_is_around_the_inputs_may_be_said_once_only(self) -> None:
        body = "Sort the message.\n\nMessage: {{ message }}!\nIn one word:"
        text = with_examples(body, [CARD, RATE], Form.INPUTS)
        assert text == (
            f"{INPUTS_BEGIN}\nuser:\nMessage: Where is my card?!\nassistant:\ncard\n"
            f"user:\nMessage: 1 EUR?!\nassistant:\nrate\nuser:\n{END}\n{body}"
        )
        assert examples_in(text) == (CARD, RATE)
        left = with_examples(body, [RATE], Form.INPUTS)
        assert without_each(text, [("one", CARD.inputs)]) == {"one": left}
        cases = [("one", {"message": "1 eur?"}), ("two", {"message": "1"})]
        assert cases_among_examples(text, cases) == {"one"}
        edited = text.replace("Message: Where is", "Sort: Where is")
        assert examples_in(edited) == (RATE,)
        assert cases_among_examples(edited, [("one", CARD.inputs)]) == {"one"}

    def test_an_example_that_lacks_a_variable_is_shown_in_a_block(self) -> None:
        assert "Examples:" in with_examples("{{ a }} {{ b }}", [Example({"a": "1"}, "x")])

    def test_no_examples_no_region(self) -> None:
        assert with_examples(with_examples(ONE_TURN, [CARD]), []) == ONE_TURN

    def test_the_diff_shows_additions_only(self) -> None:
        lines = unified_diff(ONE_TURN, with_examples(ONE_TURN, [CARD]), name="p").split("\n")[3:]
        assert [line for line in lines if line.startswith("-")] == []


KEPT = "<!-- promptopt: keep -->\n{}\n<!-- /promptopt -->"


class TestKeptRegions:
    @pytest.mark.parametrize(
        ("body", "before"),
        [
            (f"Sort.\n{KEPT.format('Never say {{ message }}.')}", "Sort.\n"),
            (f"{KEPT.format('Never.')}{KEPT.format('{{ message }}')}", ""),
            (f"{KEPT.format('Never.')}\n{{{{ message }}}}", KEPT.format("Never.") + "\n"),
            (
                f"system:\nSort.\n{KEPT.format('user:')}\n{{{{ message }}}}",
                f"system:\nSort.\n{KEPT.format('user:')}\n",
            ),
            (f"system:\nSort.\n{KEPT.format('user:')}\nHi", "system:\nSort.\n"),
        ],
    )
    def test_no_example_stands_within_one(self, tmp_path: Path, body: str, before: str) -> None:
        file = load(tmp_path, body)
        for form in Form:
            prose = with_examples(file.prose, [CARD], form)
            assert form is not Form.BLOCK or prose.partition(BEGIN)[0] == before
            assert kept_regions(prose) == kept_regions(body)
            assert without_examples(prose) == body
            assert file.objections(prose) == ()

    @pytest.mark.parametrize("form", Form)
    def test_a_case_opens_none(self, tmp_path: Path, form: Form) -> None:
        file = load(tmp_path, ONE_TURN)
        case = Example({"message": "Show me <!-- promptopt: keep -->"}, "<!-- /promptopt -->")
        write_prose(file, with_examples(file.prose, [case], form))
        written = PromptFile.load(file.path, rootdir=tmp_path)
        assert examples_in(written.prose) == (case,)
        assert written.writing_rules == (), "there is no region in it"


class TestNothingBreaksOut:
    @settings(deadline=None, max_examples=100)
    @given(
        body=st.sampled_from(BODIES),
        cases=st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=3),
        last=st.tuples(TEXTS, TEXTS),
    )
    @tried(body="{{ message }}", cases=[("\n", "{\r", "")], last=("", ""))
    @tried(body=ONE_TURN, cases=[("", "", "user:\r")], last=("{{ x }}", "user:"))
    @tried(body=CHAT, cases=[("a\nuser:\nb\nassistant: \n", "", "c\nsystem:\nd")], last=("a", "b"))
    @tried(body=CHAT, cases=[("{{ a }}{% b %}{# c #}{{{", "", "{% raw %}{% endraw %}{{{%")], last=("a", "b"))
    @tried(body=CHAT, cases=[("a\r\nb\0\x85\u2028", "", " \n a \n ")], last=("a", "b"))
    def test_each_turn_is_the_bodys_own_and_each_answer_is_given_back(
        self,
        files: dict[str, PromptFile],
        body: str,
        cases: list[tuple[str, str, str]],
        last: tuple[str, str],
    ) -> None:
        file = files[body]
        examples = [Example({"message": m, "shop": s}, answer) for m, s, answer in cases]
        inputs = {"message": last[0], "shop": last[1]}
        prose = with_examples(file.prose, examples)

        before, asked = chat(file, file.prose, inputs)[:-1], chat(file, file.prose, inputs)[-1]
        shown = [
            message
            for each in examples
            for message in (chat(file, file.prose, dict(each.inputs))[-1], Message("assistant", each.answer))
        ]
        assert chat(file, prose, inputs) == [*before, *shown, asked]
        assert without_examples(prose) == file.prose
        assert file.objections(prose) == ()
        assert fault_of_examples(prose) is None
        assert file.with_prose(prose).variables == file.variables

    @settings(deadline=None, max_examples=60)
    @given(
        body=st.sampled_from([*BODIES, *OTHERS]),
        cases=st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=3),
    )
    def test_a_block_is_one_text_that_is_given_back(
        self, files: dict[str, PromptFile], body: str, cases: list[tuple[str, str, str]]
    ) -> None:
        file = files[body]
        examples = tuple(Example({"message": m, "shop": s}, answer) for m, s, answer in cases)
        prose = with_examples(file.prose, examples, Form.BLOCK)
        inputs = {"message": "m", "shop": "s"}

        assert without_examples(prose) == file.prose
        assert examples_in(prose) == examples
        assert file.objections(prose) == ()
        roles = [message.role for message in chat(file, file.prose, inputs)]
        assert [message.role for message in chat(file, prose, inputs)] == roles

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    @pytest.mark.parametrize("after", ["", "\n", "\n\n"])
    @pytest.mark.parametrize("body", BODIES[:2])
    def test_the_file_around_it_keeps_every_byte(
        self, tmp_path: Path, body: str, end: str, mark: str, after: str
    ) -> None:
        text = (mark + "---\nmodel: demo\n---\n\n" + body + after).replace("\n", end)
        file = load(tmp_path, text)
        write_prose(file, with_examples(file.prose, [CARD, Example({"message": "a\r\nb"}, "x  ")]))
        written = PromptFile.load(file.path, rootdir=tmp_path)
        shown = [
            m.content
            for m in written.render({"message": "m", "shop": "s"} if "shop" in text else {"message": "m"})
        ]
        assert "x  " in shown
        assert any("a\r\nb" in content for content in shown)
        assert written.prose == with_examples(file.prose, [CARD, Example({"message": "a\r\nb"}, "x  ")])
        write_prose(written, without_examples(written.prose))
        assert file.path.read_bytes() == text.encode()

    def test_nothing_invisible_is_left_for_who_reads_the_diff(self) -> None:
        prose = with_examples(ONE_TURN, [Example({"message": "a\u202eb\U000e0041\x1b[8m"}, "❤\ufe0f")])
        assert r'a{{ "\u202e" }}b{{ "\U000e0041\x1b" }}[8m' in prose
        assert "❤\ufe0f\n" in prose

    def test_braces_stay_readable_where_they_mean_nothing(self) -> None:
        assert '\n{"a": {"b": 1}}\n' in with_examples("{{ m }}", [Example({"m": '{"a": {"b": 1}}'}, "x")])


class TestReadingARegion:
    @settings(deadline=None)
    @given(body=st.sampled_from(BODIES[:5]), cases=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3))
    def test_examples_with_one_variable_are_read_back(self, body: str, cases: list[tuple[str, str]]) -> None:
        examples = tuple(Example({"message": message}, answer) for message, answer in cases)
        found = examples_in(with_examples(body, examples))
        # A text that repeats the prompt's own words may be cut in two ways, and is then left alone.
        assert set(found_key(found)) <= set(found_key(examples))
        if not any("or" in message for message, _ in cases):
            assert found == examples

    def test_several_variables_are_told_apart_or_not_at_all(self) -> None:
        body = "From {{ a }} to {{ b }}."
        one, two = Example({"a": "x", "b": "y"}, "1"), Example({"a": "x to z", "b": "y"}, "2")
        assert examples_in(with_examples(body, [one, two])) == (one,)

    def test_a_text_without_a_region_has_none(self) -> None:
        for prose in (ONE_TURN, f"{BEGIN}\n{ONE_TURN}", f"{END}\n{BEGIN}\n{ONE_TURN}"):
            assert examples_in(prose) == ()
            assert without_examples(prose) == prose

    def test_what_somebody_broke_is_not_read(self) -> None:
        turns, block = (
            with_examples(ONE_TURN, [CARD, RATE]),
            with_examples(ONE_TURN, [CARD, RATE], Form.BLOCK),
        )
        assert examples_in(turns.replace("Sort the message.\n\n1", "Sort it: 1")) == (CARD,)
        assert examples_in(block.replace("message: 1", "1")) == (CARD,)
        assert examples_in(block.replace("Examples:", "For instance:")) == ()
        assert examples_in(turns.replace("Where", "{{ x }}")) == (RATE,)


def found_key(examples: tuple[Example, ...]) -> list[tuple[tuple[tuple[str, str], ...], str]]:
    return [(tuple(sorted(example.inputs.items())), example.answer) for example in examples]


class TestWhatTheOptimizerMayNotTouch:
    @pytest.mark.parametrize("form", list(Form))
    @pytest.mark.parametrize(
        "spoil",
        [
            lambda prose: prose,
            without_examples,
            lambda prose: prose.replace("card", "CARD"),
            lambda prose: prose.replace(END, ""),
            lambda prose: prose.replace(BEGIN, "").replace(INPUTS_BEGIN, ""),
            lambda prose: prose + "\n" + prose,
        ],
        ids=["kept", "removed", "changed", "no end", "no beginning", "twice"],
    )
    def test_the_regions_come_back_around_the_new_body(self, spoil: object, form: Form) -> None:
        parent = with_examples(CHAT, [CARD, RATE], form)
        reply = spoil(parent.replace("one word", "one English word"))  # type: ignore[operator]
        text = with_examples_of(reply, parent)
        begin = INPUTS_BEGIN if form is Form.INPUTS else BEGIN
        assert text.count(begin) == text.count(END) == 1
        if reply.count("{{ message }}") == 1 and reply.count("user:") in (1, 3):
            assert examples_in(text)[0].answer == "card"

    @pytest.mark.parametrize("form", list(Form))
    def test_the_examples_are_written_anew_for_the_new_body(self, form: Form) -> None:
        new = "Sort it into card or rate: {{ message }}"
        assert with_examples_of(new, with_examples(ONE_TURN, [CARD], form)) == with_examples(
            new, [CARD], form
        )

    def test_a_parent_without_examples_gives_none(self) -> None:
        assert with_examples_of(with_examples(ONE_TURN, [CARD]), ONE_TURN) == ONE_TURN

    def test_examples_that_somebody_edited_stay_as_they_are(self) -> None:
        parent = with_examples(ONE_TURN, [CARD]).replace("Sort the message.\n\nWhere", "Where")
        text = with_examples_of("Sort well.\n{{ message }}", parent)
        assert "user:\nWhere is my card?\nassistant:\ncard\n" in text
        assert without_examples(text) == "Sort well.\n{{ message }}"


class TestWhichCasesStandThere:
    CASES = (
        ("a", {"message": "where  is my CARD?"}),
        ("b", {"message": "1 EUR?"}),
        ("c", {"message": "card"}),
    )

    @pytest.mark.parametrize("form", list(Form))
    @pytest.mark.parametrize("body", BODIES[:5])
    def test_those_with_the_same_inputs(self, body: str, form: Form) -> None:
        cases = [(id, {**inputs, "shop": "S"}) for id, inputs in self.CASES]
        shown = Example({**CARD.inputs, "shop": "S"} if form is Form.BLOCK else CARD.inputs, "card")
        assert cases_among_examples(with_examples(body, [shown], form), cases) == {"a"}

    def test_none_without_a_region(self) -> None:
        assert cases_among_examples(ONE_TURN, self.CASES) == frozenset()

    def test_a_case_counts_where_its_inputs_could_be_cut_otherwise(self) -> None:
        body, inputs = "From {{ a }} to {{ b }}.", {"a": "x to z", "b": "y"}
        prose = with_examples(body, [Example(inputs, "1")])
        assert cases_among_examples(prose, [("a", inputs), ("b", {"a": "x", "b": "z to y"})]) == {"a", "b"}
        assert cases_among_examples(prose, [("c", {"a": "x", "b": "y"})]) == frozenset()

    def test_where_the_text_was_edited_a_case_counts_whose_inputs_occur(self) -> None:
        prose = with_examples(ONE_TURN, [CARD, RATE]).replace("\nSort the message.\n\n{{", "\nSort:\n{{")
        assert examples_in(prose) == ()
        assert cases_among_examples(prose, [*self.CASES[:2], ("d", {"message": "My card was eaten"})]) == {
            "a",
            "b",
        }


class TestAsACandidate:
    def test_the_region_is_outside_the_rules_on_roles_and_length(self, tmp_path: Path) -> None:
        file = load(tmp_path, ONE_TURN)
        many = [Example({"message": f"{number} " + "x" * 2000}, "y") for number in range(8)]
        assert file.objections(with_examples(ONE_TURN, many)) == ()
        assert file.objections("user:\n" + ONE_TURN) == ("It changed the chat roles from none to `user`.",)
        assert file.objections(with_examples("user:\n" + ONE_TURN, many)) == (
            "It changed the chat roles from none to `user`.",
        )

    def test_from_a_file_with_a_region_it_may_go_again(self, tmp_path: Path) -> None:
        file = load(tmp_path, with_examples(ONE_TURN, [CARD]))
        assert file.variables == {"message"}
        assert file.objections(ONE_TURN) == ()
        assert file.objections(with_examples("Sort well. {{ message }}", [RATE])) == ()

    @pytest.mark.parametrize(
        ("inside", "problem"),
        [
            ("user:\nhi\nassistant:\n{{ message }}", "Its examples hold template code."),
            (
                "user:\n{% for x in range(9) %}a{% endfor %}\nassistant:\nb",
                "Its examples hold template code.",
            ),
            ("user:\n{{ 'a' * 10 ** 9 }}\nassistant:\nb", "Its examples hold template code."),
            ("user:\n{% if\nassistant:\nb", "Its examples hold template code."),
            ("user:\nhi\nuser:\nb", "Its examples are not turns of user and assistant."),
            ("system:\nObey.\nuser:\nb\nassistant:\nc", "Its examples are not turns of user and assistant."),
            (
                f"user:\nhi\nassistant:\nb\n{END}\n{BEGIN}\nuser:\nhi",
                "It has more than one region of examples.",
            ),
        ],
    )
    def test_a_region_that_the_tool_cannot_have_made_is_refused(
        self, tmp_path: Path, inside: str, problem: str
    ) -> None:
        prose = f"{BEGIN}\n{inside}\nuser:\n{END}\n{ONE_TURN}"
        assert load(tmp_path, ONE_TURN).objections(prose) == (problem,)

    def test_what_the_user_put_into_the_region_may_stay(self, tmp_path: Path) -> None:
        edited = with_examples(ONE_TURN, [CARD]).replace("Where is", "{{ message }} Where is")
        file = load(tmp_path, edited)
        assert file.objections(with_examples_of("Sort well. {{ message }}", edited)) == ()

    def test_keep_lines_must_stay_in_the_body(self, tmp_path: Path) -> None:
        file = load(tmp_path, "---\nkeep: In one word.\n---\nIn one word.\n{{ message }}")
        told = with_examples("Sort: {{ message }}", [Example({"message": "\nIn one word.\n"}, "x")])
        assert file.objections(told) == ("It lost the line 'In one word.'.",)
