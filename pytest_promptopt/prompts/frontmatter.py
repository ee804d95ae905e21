"""The YAML above a prompt's prose. Our keys are checked; those of other programs pass through untouched."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from pytest_promptopt.errors import PromptFileError
from pytest_promptopt.records import LENGTH_NAMES, SPELLED
from pytest_promptopt.text import braces_hint, cut_end

#: `parameters` may not bring in by the back door what has a key of its own or belongs to the request.
RESERVED_PARAMETERS = frozenset(
    {"model", "max_tokens", "stop", "stop_sequences", "system", "messages", "stream"}
)

# Where a request goes and with whose key: a prompt file that somebody sends in must not decide it.
_CONNECTION = re.compile(
    r"(?:.*_)?(?:api_key|api_base|api_version|base_url|headers?|client|session|callbacks?|fallbacks|retries|timeout)"
    r"|(?:aws|azure|gcs|s3|vertex|watsonx|langfuse|langsmith|arize|dd|posthog|newrelic|signoz|wandb|litellm|openai"
    r"|anthropic)_.*|context_window_fallback_dict|custom_llm_provider|deployment_id|extra_query|logger_fn"
    r"|mock_response|model_list|organization|proxy_server_request|ssl_verify|workspace_id"
)

#: Parameters that many providers have, so that somebody may expect them to be read here.
PROVIDER_PARAMETERS = LENGTH_NAMES | {
    "top_p",
    "top_k",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "reasoning_effort",
    "response_format",
    "stop_sequences",
    "thinking",
    "extra_body",
}

#: How alike a key must be to one of ours to be taken for a slip; keys that other programs really have.
_NEAR = 0.8
_NO_SLIPS = frozenset({"mode", "models"})

#: Bits of a number; Python writes none that is much longer.
MAX_BITS = 10_000

#: The template languages, as front matter and mark call them.
LANGUAGES = ("jinja2", "format", "percent", "template", "mustache", "nunjucks", "none")

_FIRST_LINE = 2  # line 1 is the opening `---`


@dataclass(frozen=True)
class FrontMatter:
    """What a prompt file says about itself; all of it is optional and none of it is ever rewritten.

    :param model: None means the model of the mark or of the session.
    :param parameters: provider parameters passed through; `temperature` is among them.
    :param system: a template for the system message, None when there is none.
    :param description: the task in words, for the optimizer.
    :param keep: lines of the prose that no candidate may drop.
    :param template: the template language; empty when it is not said.
    :param foreign: whether it has keys of other programs.
    :param hints: keys that look like ours and are not, with a sentence each.
    :param lines: file line where a value begins, by key: ``model``, ``parameters.top_p``, ``keep.0``.
    """

    model: str | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    system: str | None = None
    description: str = ""
    keep: tuple[str, ...] = ()
    template: str = ""
    foreign: bool = False
    hints: tuple[tuple[int, str], ...] = field(default=(), compare=False, repr=False)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def parse(cls, text: str, *, name: str) -> FrontMatter:
        """Read the text between the ``---`` lines of the file `name`; raises `PromptFileError`."""
        found, lines = load_yaml(text, name=name)
        values = {key: value for key, value in found.items() if key in _KEYS}
        unknown = [key for key in found if key not in _KEYS]
        hints = [(lines[key], said) for key in unknown if (said := _said_of(key))]
        for key, value in values.items():
            accepts, wanted = _KEYS[key]
            if not accepts(value):
                raise PromptFileError(name, lines[key], f"`{key}` must be {wanted}, got {_shown(value)}")
        parameters = dict(values.pop("parameters", {}))
        for key in parameters:
            if key in RESERVED_PARAMETERS or (key == "temperature" and key in values):
                raise PromptFileError(
                    name,
                    lines.get(f"parameters.{key}", lines["parameters"]),
                    f"`{key}` may not be given below `parameters:`",
                )
            if is_connection(key):
                line = lines.get(f"parameters.{key}", lines["parameters"])
                raise PromptFileError(name, line, f"`{key}` {FROM_ENVIRONMENT}")
        _take_length(parameters, values, lines, name=name)
        parameters = without_lengths(parameters)
        if "temperature" in values:
            parameters["temperature"] = values.pop("temperature")
            lines["parameters.temperature"] = lines["temperature"]
        if "system" in values:
            values["system"] = values["system"].rstrip("\n")
        for key in ("stop", "keep"):
            values[key] = _strings(values.get(key, ()))
        values["keep"] = tuple(entry.strip("\n") for entry in values["keep"])
        foreign = len(unknown) > len(hints)
        return cls(**values, parameters=parameters, foreign=foreign, hints=tuple(hints), lines=lines)


def _said_of(key: str) -> str | None:
    """What a reader should know of a key that is not ours; None for one of another program."""
    plain = key.lower().replace("-", "_")
    if plain in PROVIDER_PARAMETERS:
        return f"`{key}` is passed over: parameters of a model go below `parameters:`"
    near = get_close_matches(plain, _KEYS, n=1, cutoff=_NEAR)
    return f"`{key}` is passed over; did you mean `{near[0]}`?" if near and plain not in _NO_SLIPS else None


FROM_ENVIRONMENT = "is no parameter of a model: address and key are for the environment to set"


SAME_LENGTH = "is the same setting as another one given: the length of an answer is set once"


def without_lengths(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """`parameters` without the other names of ``max_tokens``, except the one that is sent as written."""
    return {name: value for name, value in parameters.items() if name not in LENGTH_NAMES - {SPELLED}}


def is_connection(name: str) -> bool:
    """Whether a parameter would say where a request goes, or with whose key, rather than what is asked."""
    return _CONNECTION.fullmatch(name) is not None


def _take_length(
    parameters: Mapping[str, Any], values: dict[str, Any], lines: dict[str, int], *, name: str
) -> None:
    """Have `max_tokens` be what it is called in `parameters`."""
    for key in sorted(LENGTH_NAMES & parameters.keys()):
        line = lines.get(f"parameters.{key}", lines["parameters"])
        if not _is_positive(parameters[key]):
            shown = _shown(parameters[key])
            raise PromptFileError(name, line, f"`{key}` must be a whole number from 1, got {shown}")
        if "max_tokens" in values:
            raise PromptFileError(name, line, f"`{key}` {SAME_LENGTH}")
        values["max_tokens"], lines["max_tokens"] = parameters[key], line


def _strings(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_texts(value: object) -> bool:
    # A stop sequence may be a newline, so blank is fine here as long as there is something.
    return bool(value) and (
        isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) and v for v in value))
    )


def _is_lines(value: object) -> bool:
    return _is_texts(value) and all(entry.strip() for entry in _strings(value))


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63


def _is_temperature(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_json(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, int):
        return value.bit_length() <= MAX_BITS
    return value is None or isinstance(value, str) or (isinstance(value, float) and math.isfinite(value))


_KEYS: dict[str, tuple[Callable[[object], bool], str]] = {
    "model": (_is_text, "a model name such as provider/model"),
    "temperature": (_is_temperature, "a number from 0"),
    "max_tokens": (_is_positive, "a whole number from 1"),
    "stop": (_is_texts, "a string or a list of strings"),
    "system": (_is_text, "the text of the system message"),
    "description": (_is_text, "a text"),
    "template": (lambda value: value in LANGUAGES, f"one of {', '.join(LANGUAGES)}"),
    "keep": (_is_lines, "a line of the prompt or a list of lines"),
    "parameters": (
        lambda value: isinstance(value, dict) and _is_json(value),
        "a mapping of provider parameters, e.g. {top_p: 0.9}",
    ),
}


def _shown(value: object) -> str:
    try:
        text = "nothing" if value is None else repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
    return cut_end(text, 80, mark="...")


def load_yaml(
    text: str, *, name: str, first_line: int = _FIRST_LINE
) -> tuple[dict[str, Any], dict[str, int]]:
    """Values and lines by key. Raises `PromptFileError`.

    :param first_line: the line of the file on which `text` begins.
    """
    import yaml

    def line_at(offset: int) -> int:
        """File line of a character; YAML's own line numbers also count U+0085 and U+2028."""
        return first_line + text.count("\n", 0, offset)

    def refusal(offset: int, problem: object) -> PromptFileError:
        message = f"the front matter is not valid YAML: {problem}{braces_hint(text, offset)}"
        return PromptFileError(name, line_at(offset), message)

    try:
        root = _compose(text, refusal)
        lines: dict[str, int] = {}
        for key, node in _places(root):
            is_block = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
            line = line_at(node.start_mark.index) + is_block
            if key in lines:
                raise PromptFileError(name, line, f"`{key}` is given twice")
            lines[key] = line
        values = {}
        loader = yaml.SafeLoader("")
        for key_node, node in root.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise refusal(key_node.start_mark.index, "a key must be a word")
            try:
                values[str(key_node.value)] = loader.construct_object(node, deep=True)
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                # PyYAML lets these escape for a value such as 2024-99-99 or `!!bool x`.
                raise refusal(node.start_mark.index, error) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise refusal(mark.index if mark else 0, error.problem or error.context) from None
    except yaml.reader.ReaderError as error:
        raise refusal(error.position, f"{text[error.position]!r}: {error.reason}") from None
    except RecursionError:
        raise refusal(0, "it is nested too deeply") from None
    return values, lines


def _compose(text: str, refusal: Callable[[int, object], PromptFileError]) -> Any:
    import yaml

    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        # Aliases can blow a few lines up to gigabytes once the parameters are written out as JSON.
        if isinstance(token, yaml.AliasToken):
            raise refusal(token.start_mark.index, "aliases are not accepted here")
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return yaml.MappingNode("tag:yaml.org,2002:map", [])
    if not isinstance(root, yaml.MappingNode):
        raise refusal(root.start_mark.index, f"it must be `key: value` lines, got {text[:40]!r}")
    return root


def _places(root: Any) -> Iterator[tuple[str, Any]]:
    """Every key with the node of its value, one level into `parameters` and `keep`."""
    import yaml

    for key_node, node in root.value:
        yield str(key_node.value), node
        if isinstance(node, yaml.MappingNode):
            for inner_key, inner in node.value:
                yield f"{key_node.value}.{inner_key.value}", inner
        elif isinstance(node, yaml.SequenceNode):
            for index, inner in enumerate(node.value):
                yield f"{key_node.value}.{index}", inner
