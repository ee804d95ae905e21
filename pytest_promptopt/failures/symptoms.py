"""What can be wrong with one answer, as values: kinds of symptoms, and what each is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from pytest_promptopt.text import quote

_NOTHING_ELSE = ("only", "nothing else", "no explanation", "just the")
_VALID_JSON = ("valid json", "json")


class SymptomKind(Enum):
    """A kind of symptom: how it is worded, and the words by which a prompt would have ruled it out.

    In the wording ``{values[0]}`` is the first value of a symptom as it is, ``{quotes[0]}`` the same in
    quotation marks, and ``{all}`` all its values in quotation marks.
    """

    def __init__(self, wording: str, *ruled_out_by: str) -> None:
        self.wording = wording
        self.ruled_out_by = ruled_out_by

    # How the model stopped.
    STOPPED_AS_REFUSAL = "the provider's stop reason is refusal"
    OPENS_AS_REFUSAL = "opens with {quotes[0]}"
    CUT_AT_MAX_TOKENS = "the answer was cut at max_tokens"

    # The value is there, but not as the test can use it.
    CODE_FENCE = "a code fence around the value", "fence", "fences", "code block", "markdown", "```"
    PROSE_AROUND_VALUE = "prose around the value", *_NOTHING_ELSE, "exactly one"
    PROSE_INSTEAD_OF_LABEL = "prose instead of a label", *_NOTHING_ELSE, "exactly one"
    SEVERAL_LABELS = "several labels at once", "exactly one", "one of", "only one", "single"
    LEAD_IN = "a lead-in before the value", *_NOTHING_ELSE, "no prefix"
    OTHER_CASE = (
        "other case", "lowercase", "lower case", "uppercase", "upper case", "case", "exactly as", "spelled",
    )  # fmt: skip
    OTHER_SEPARATORS = (
        "other separators", "underscore", "underscores", "hyphen", "hyphens", "exactly as", "spelled",
        "verbatim",
    )  # fmt: skip
    QUOTES = "quotes", "quotes", "quotation marks", "quoted"
    PUNCTUATION = "punctuation", "punctuation", "full stop", "period"
    MARKDOWN = "markdown marks", "markdown", "bold", "plain text", "formatting"
    WHITESPACE = "surrounding whitespace", "whitespace", "blank", "single line", "one line"
    JSON_AROUND_VALUE = "JSON around the value", "plain text", "no json", "not json"
    JSON_WRITTEN_DIFFERENTLY = (
        "the same JSON written differently", "compact", "spaces", "indent", "sorted", "order",
    )  # fmt: skip
    NO_JSON = "no JSON at all", "json"
    NO_JSON_STRUCTURE = "no JSON object or array"
    PROSE_AROUND_JSON = "prose around the JSON", *_NOTHING_ELSE, "json"
    PYTHON_JSON = "single quotes or Python words in the JSON", "valid json", "double quotes", "json"
    TRAILING_COMMA = "a trailing comma in the JSON", *_VALID_JSON
    JSON_ENDS_EARLY = "JSON that ends early", "valid json", "complete", "json"
    BROKEN_JSON = "broken JSON", *_VALID_JSON
    NO_BARE_NUMBER = "not a bare number", "number", "digits", "integer", "numeric"
    NO_FIELDS = "no fields that DSPy can read"
    FORM_CHECK = "a form that fails the check {values[0]}()"
    MARKUP = "{quotes[0]} in the answer"
    TEXT_IN_OTHER_CASE = "{quotes[0]} in other case or spacing"
    FIELD_SPELLED_DIFFERENTLY = "another type or case at {values[0]}"
    OTHER_TYPE = "a {values[0]} instead of a {values[1]}"

    # Texts that look the same.
    UNICODE_FORM = "the same text in another Unicode form ({values[0]} for {values[1]})"
    LOOKALIKE_CHARACTERS = "characters that look the same: {values[0]}"
    OTHER_LOOKALIKES = "other characters that look the same"
    LOOKALIKE_OF_TEXT = "{quotes[0]} in characters that look the same"

    # What is there and should not be, or is not there and should be; by its text or its field.
    TEXT = "{all}"
    FIELD = "{quotes[0]}"
    ELEMENTS = "elements of {quotes[0]}"
    KEY = "the key {quotes[0]}"
    ONE_OF = "one of {all}"
    WHOLE_ANSWER = "the whole answer (it is empty)"

    # What is wrong with the tools that are called.
    WRONG_TOOL = "{values[0]} called for {values[1]}"
    MISSING_CALL = "no call of {values[0]}"
    EXTRA_CALL = "a call of {values[0]} too many"
    TOO_MANY_CALLS = "too many calls", "once", "one call", "only", "a single"
    TOO_FEW_CALLS = "too few calls", "each", "every", "all", "both"
    OUT_OF_ORDER = "{values[0]} called before {values[1]}"
    NO_CALL = "no tool called", "tool", "tools", "call", "function"
    CALLED_INSTEAD = "{values[0]} called instead of an answer", "tool", "tools", "call", "function"
    MISSING_ARGUMENT = "the argument {values[0]} of {values[1]} missing"
    EXTRA_ARGUMENT = "the argument {values[0]} of {values[1]} too many"
    WRONG_ARGUMENT = "another value for the argument {values[0]} of {values[1]}"
    UNREADABLE_ARGUMENTS = "arguments of {values[0]} that are no JSON object"

    # What a judge said.
    CRITERION = "the criterion {quotes[0]}"

    # Another value.
    OTHER_VALUE = "{quotes[0]} for {quotes[1]}"
    OTHER_WORDING = "the wording of a longer text"
    MEASURE = "a measure that must be {values[0]} {values[1]}"
    CONDITION = "{values[0]}"
    OPERATOR = "a check with {values[0]}"
    ERROR = "{values[0]} {quotes[1]}{values[2]}"


#: What is wrong with a text that was to be JSON.
JSON_FAULTS = frozenset(
    {
        SymptomKind.CODE_FENCE,
        SymptomKind.NO_JSON,
        SymptomKind.NO_JSON_STRUCTURE,
        SymptomKind.PROSE_AROUND_JSON,
        SymptomKind.PYTHON_JSON,
        SymptomKind.TRAILING_COMMA,
        SymptomKind.JSON_ENDS_EARLY,
        SymptomKind.BROKEN_JSON,
    }
)
#: Kinds of symptoms of one argument of a call.
ABOUT_ARGUMENTS = frozenset(
    {SymptomKind.MISSING_ARGUMENT, SymptomKind.EXTRA_ARGUMENT, SymptomKind.WRONG_ARGUMENT}
)
#: Kinds of symptoms of texts that look the same.
LOOKALIKES = frozenset(
    {
        SymptomKind.UNICODE_FORM,
        SymptomKind.LOOKALIKE_CHARACTERS,
        SymptomKind.OTHER_LOOKALIKES,
        SymptomKind.LOOKALIKE_OF_TEXT,
    }
)


@dataclass(frozen=True)
class Symptom:
    """One thing that is wrong with an answer. Symptoms of several answers are the same when they are equal.

    :param values: what it is about, such as the text that is missing; their number depends on `kind`.
    """

    kind: SymptomKind
    values: tuple[str, ...] = ()

    @classmethod
    def of(cls, kind: SymptomKind, *values: str) -> Symptom:
        """A symptom of `kind` that is about `values`."""
        return cls(kind, values)

    def __str__(self) -> str:
        quotes = [quote(value) for value in self.values]
        return self.kind.wording.format(values=self.values, quotes=quotes, all=", ".join(quotes))

    @property
    def looks_the_same(self) -> bool:
        """Whether it says of two texts that they look the same."""
        return self.kind in LOOKALIKES

    @property
    def names(self) -> tuple[str, ...]:
        """What a prompt would call what it is about: of a path in a structure, the field at its end."""
        if self.kind in ABOUT_ARGUMENTS:
            return self.values[:1]
        if self.kind in (SymptomKind.FIELD, SymptomKind.ELEMENTS, SymptomKind.KEY):
            return tuple(value.rpartition(".")[2] for value in self.values)
        return self.values


def symptoms_of(kinds: Iterable[SymptomKind]) -> tuple[Symptom, ...]:
    """A symptom of each of these kinds, which need no values."""
    return tuple(map(Symptom, kinds))
