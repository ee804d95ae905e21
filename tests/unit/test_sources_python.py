"""A prompt that is a constant of a module is read and rewritten where it stands; the module is never run."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_promptopt.errors import PromptFileError, RenderError
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.sources import Source, source_of
from pytest_promptopt.prompts.sources.address import Address
from pytest_promptopt.prompts.template_languages import JINJA2

#: Modules with a constant, by its name: each way in which a text is written.
MODULES = {
    "plain": ("PROMPT", 'A = 1  # one\nPROMPT = "Classify: {text}"\nB = 2\n'),
    "single quotes": ("PROMPT", "PROMPT = 'a\\nb \\u2014 {text}'\n"),
    "triple": ("PROMPT", 'X = 1\r\nPROMPT = """Line\r\nb\\u2014 {text}\r\n"""\r\nY = 2'),
    "joined": ("PROMPT", 'PROMPT = (\n    "a\\n"\n    "b" "c\\n"\n    \'{text}\'\n)\nB = 2\n'),
    "joined on a line": ("PROMPT", "PROMPT = \"a\" 'b'\n"),
    "joined by a backslash": ("PROMPT", "PROMPT = \"a\\n\" \\\n    'b'\nz = 1"),
    "raw": ("PROMPT", "PROMPT = r'''\\d\n{text}'''\n"),
    "annotated, of a class": ("T.PROMPT", '# é\nclass T:\n    é = 1; PROMPT: str = u"""é\nb"""  # x\n'),
    "of a class in a class": (
        "T.In.PROMPT",
        'class T:\n    class In:\n        PROMPT = "a"\n\nPROMPT = ""\n',
    ),
    "dedent": (
        "PROMPT",
        'from textwrap import dedent\nPROMPT = dedent("""\n    a\n      b\n    """).strip()\nB = 2\n',
    ),
    "dedent by another name": (
        "T.PROMPT",
        'import textwrap as tw\nclass T:\n    PROMPT = tw.dedent("""\\\n        a\n          b\n    """)\n',
    ),
    "cleandoc": (
        "T.PROMPT",
        'import inspect\nclass T:\n    PROMPT = inspect.cleandoc("""a\n       b\n    """)\n',
    ),
    "joined with comments": (
        "PROMPT",
        'PROMPT = (\n  "a\\n"  # one\n  # two\n  "b "  # in\n  "c\\n"\n  "{text}"  # end\n)\nB = 2\n',
    ),
    "joined with comments, in one bracket": ("PROMPT", "PROMPT = ('a\\n'  # one\n  'b')\n"),
    "of a dict": (
        'PROMPTS["one"]',
        'PROMPTS = {\n    "one": """a\n{text}""",  # é\n    "two": "b",\n}\nPROMPT = "c"\nB = 2\n',
    ),
    "of a dict in a list, joined with comments": (
        "T.PROMPTS[1].a",
        'class T:\n    PROMPTS = [\n        "x",\n        {"a": "b\\n"  # one\n         "c"},\n    ]\n',
    ),
    "under a condition": ("PROMPT", 'import os\nif os.name:\n    PROMPT = "a"\n'),
    "byte order mark": ("PROMPT", '\ufeffPROMPT="x"'),
}
#: These take indentation away, so there are texts that they cannot be made to give.
TAKING_AWAY = ("dedent", "cleandoc")

TEXTS = st.text(st.sampled_from("ab \\\"'\n\t{}é—\x00\x1b\u2028n"), max_size=25) | st.text(
    st.characters(codec="utf-8"), max_size=20
)


def value_of(module: str, target: str) -> str:
    """What Python says of the constant."""
    names: dict[str, object] = {}
    exec(compile(module.removeprefix("\ufeff"), "module", "exec", dont_inherit=True), names)
    found = eval(target.replace("[1].a", "[1]['a']"), names)
    assert isinstance(found, str)
    return found


def constant(target: str) -> Source:
    return source_of(Address(Path("app.py"), target))[0]


def one_line_ends(text: str) -> str:
    return re.sub("\r\n|\r", "\n", text)


@pytest.mark.parametrize(("target", "module"), MODULES.values(), ids=MODULES)
def test_what_is_read_is_what_python_says(target: str, module: str) -> None:
    found = constant(target).read(module.encode(), name="app.py")
    assert found.prose == value_of(module, target).strip("\n")


@settings(max_examples=400, deadline=None)
@given(which=st.sampled_from(sorted(MODULES)), text=TEXTS)
@example(which="cleandoc", text="\\\n\u2028\\")  # a line that begins with a blank of Unicode's
def test_any_text_can_take_its_place_and_nothing_else_changes(which: str, text: str) -> None:
    target, module = MODULES[which]
    text = one_line_ends(text).strip("\n")
    if not text.strip():
        return
    source = constant(target).read(module.encode(), name="app.py")
    try:
        changed = source.replaced(text)
    except ValueError:
        assert any(function in module for function in TAKING_AWAY)
        # What `cleandoc` takes for the indent of a line is more than what `dedent` does.
        indent = r"\t|^[^\S\n]" if "cleandoc" in module else r"\t|^[ \f\v\x1c-\x1f]"
        assert text != text.strip() or re.search(indent, text, re.MULTILINE) or "\x1b" in text
        return
    assert value_of(changed, target).strip("\n") == text
    assert constant(target).read(changed.encode(), name="app.py").prose == text
    before, after = module[: module.index("PROMPT")], "B = 2\n"
    assert changed.startswith(before)
    assert not module.endswith(after) or changed.endswith(after)
    assert _without_texts(changed) == _without_texts(module)


def _without_texts(module: str) -> str:
    """The module with an empty string for each: all that may change is what is in them."""
    tree = ast.parse(module.removeprefix("\ufeff"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


REWRITES = {
    "a line is added, quotes and escapes stay": (
        'P = """One \\u2014 two.\n{text}\n"""  # kept\n',
        "One — two.\nNew.\n{text}",
        'P = """One \\u2014 two.\nNew.\n{text}\n"""  # kept\n',
    ),
    "joined strings stay joined, a line each": (
        'P = (\n    "One.\\n"\n    "{text}"\n)\n',
        'One.\nSay "no".\n{text}',
        'P = (\n    "One.\\n"\n    "Say \\"no\\".\\n"\n    "{text}"\n)\n',
    ),
    "a single line that gets several is triple-quoted": (
        "P = 'Route {text}'\n",
        "Route it.\n\n{text}",
        "P = '''Route it.\n\n{text}'''\n",
    ),
    "line ends written as escapes stay so": ('P = "a\\nb"\n', "a\nb\nc", 'P = "a\\nb\\nc"\n'),
    "dedent keeps its margin": (
        'import textwrap\n\nP = textwrap.dedent("""\n    a\n      b\n    """)\n',
        "a\n\n  b\nc",
        'import textwrap\n\nP = textwrap.dedent("""\n    a\n\n      b\n    c\n    """)\n',
    ),
    "raw stays raw": ("P = r'\\d'\n", "\\d+", "P = r'\\d+'\n"),
    "raw goes where it cannot hold the text": ("P = r'\\d'\n", "it's \\d", "P = 'it\\'s \\\\d'\n"),
    "a comment stays where its line stays": (
        'P = (\n    "a\\n"  # one\n    "b\\n"  # two\n    "c"\n)\n',
        "a\nnew\nb\nc",
        'P = (\n    "a\\n"  # one\n    "new\\n"\n    "b\\n"  # two\n    "c"\n)\n',
    ),
    "behind the line in its place": (
        'P = (\n    "a\\n"  # one\n    # of b\n    "b"\n)\n',
        "A\nb",
        'P = (\n    "A\\n"  # one\n    # of b\n    "b"\n)\n',
    ),
    "above it when the first line goes": (
        'P = (\n    "a\\n"  # one\n    "b"\n)\n',
        "b",
        'P = (\n    # one\n    "b"\n)\n',
    ),
    "behind the end when the last one goes": (
        'P = (\n    "a\\n"  # one\n    "b"\n)\n',
        "A",
        'P = (\n    "A"  # one\n)\n',
    ),
    "on a line of its own before a comment": (
        'P = (\n    "a\\n"  # one\n    "b"  # two\n)\n',
        "A",
        'P = (\n    "A"  # one\n      # two\n)\n',
    ),
    "never before what closes the text": (
        "P = ('a\\n'  # one\n     'b')\n",
        "A",
        "P = ('A'  # one\n     )\n",
    ),
    "a file of Windows keeps its line ends": ('P = """a\r\n"""\r\n', "a\nb", 'P = """a\r\nb\r\n"""\r\n'),
}


@pytest.mark.parametrize(("module", "text", "wanted"), REWRITES.values(), ids=REWRITES)
def test_it_is_written_as_it_was(module: str, text: str, wanted: str) -> None:
    assert constant("P").read(module.encode(), name="app.py").replaced(text) == wanted


REFUSED = {
    "f-string": ('X = 1\nP = f"{X}"\n', "app.py:2: P is an f-string: f'{X}'; accepted is a string"),
    "operator": ('P = "a" + "b"\n', "app.py:1: P is put together with an operator: 'a' + 'b'; accepted"),
    "call": ("P = open('x').read()\n", "app.py:1: P is no string: open('x').read(); accepted"),
    "a dedent of its own": (
        'def dedent(text): ...\nP = dedent("a")\n',
        "app.py:2: P is no string: dedent('a'); accepted",
    ),
    "number": ("P = 3\n", "app.py:1: P is int, not a string; accepted"),
    "bytes": ("P = b'a'\n", "app.py:1: P is bytes, not a string; accepted"),
    "twice": ("P = 'a'\n\nP = 'b'\n", "app.py:3: P is given a value several times (lines 1, 3)"),
    "added to": ("P = 'a'\nP += 'b'\n", "app.py:2: P is given a value several times (lines 1, 2)"),
    "unpacked": ("P, Q = 'a', 'b'\n", "app.py:1: P is no plain assignment; accepted"),
    "annotation": ("P: str\n", "app.py: there is no constant P"),
    "missing": ("PROMPT = 'a'\nQ = 'b'\n", "app.py: there is no constant P; it has PROMPT, Q"),
    "syntax": ("P = 'a\n", "app.py:1: is not valid Python: unterminated string literal"),
    "empty": ("P = '\\n'\n", "app.py:1: the prompt is empty: P has no text"),
    "in a function": ("def f():\n    P = 'a'\n", "app.py: there is no constant P"),
    "a dict": ("P = {'a': 'x'}\n", "app.py:1: P is no string: {'a': 'x'}; accepted"),
}


@pytest.mark.parametrize(("module", "said"), REFUSED.values(), ids=REFUSED)
def test_anything_else_is_refused_at_its_line(module: str, said: str) -> None:
    with pytest.raises(PromptFileError) as caught:
        constant("P").read(module.encode(), name="app.py")
    assert str(caught.value).startswith(said)


def test_a_missing_class_is_named() -> None:
    with pytest.raises(PromptFileError, match=r"there is no class Triag; did you mean Triage\?"):
        constant("Triag.P").read(b"class Triage:\n    P = 'a'\n", name="app.py")


ITEMS = """\
PROMPTS = {
    "triage": {"system": "One {text}.", "v1.2": "Two {text}."},
    "list": ["Three {text}.", "Four {text}."],
    5: "Five {text}.",
}
"""


@pytest.mark.parametrize(
    ("target", "name", "prose"),
    [
        ("PROMPTS.triage.system", "PROMPTS.triage.system", "One {text}."),
        ('PROMPTS["triage"]["v1.2"]', 'PROMPTS.triage."v1.2"', "Two {text}."),
        ("PROMPTS['list'][1]", "PROMPTS.list[1]", "Four {text}."),
        ("PROMPTS[5]", "PROMPTS[5]", "Five {text}."),
    ],
)
def test_a_text_may_stand_in_a_dict_or_list(target: str, name: str, prose: str) -> None:
    source, address = source_of(Address.parse(f"app.py::{target}"))
    assert str(address) == f"app.py::{name}", "one name, however it is written"
    assert source.read(ITEMS.encode(), name="app.py").prose == prose


NO_ITEMS = {
    "key": (ITEMS, "PROMPTS.triag", "app.py:1: there is no key `triag` in PROMPTS; did you mean `triage`?"),
    "dict": (ITEMS, "PROMTS.list", "app.py: there is no class or dict PROMTS; did you mean PROMPTS?"),
    "no dict": (ITEMS, "PROMPTS[5].x", "app.py:4: PROMPTS[5] is no dict or list that is written out: 'Five "),
    "no item": (ITEMS, "PROMPTS.list[2]", "app.py:3: PROMPTS.list has 2 items, so there is no [2]"),
    "star": ("P = [*O, 'a']\n", "P[1]", "app.py:1: P is no dict or list that is written out: [*O, 'a']"),
    "stars after": ("P = {'a': 'b', **O}\n", "P.a", "app.py:1: `**` comes after `a` in P and may give it"),
    "set later": ("P = {'a': 'b'}\nP['a'] = 'c'\n", "P.a", "app.py:2: P.a is given a value several times"),
    "added to": ("P = {'a': 'b'}\nP['a'] += 'c'\n", "P.a", "app.py:2: P.a is given a value several times"),
}


@pytest.mark.parametrize(("module", "target", "said"), NO_ITEMS.values(), ids=NO_ITEMS)
def test_an_item_that_is_not_there_is_told(module: str, target: str, said: str) -> None:
    with pytest.raises(PromptFileError) as caught:
        constant(target).read(module.encode(), name="app.py")
    assert str(caught.value).startswith(said)


def test_stars_before_an_item_do_not_matter() -> None:
    assert constant("P.a").read(b"P = {**O, 'a': 'b'}\n", name="app.py").prose == "b"


def test_a_text_that_dedent_would_change_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_text('from textwrap import dedent\nP = dedent("""\n    Route {text}.\n    """)\n')
    file = PromptFile.load(f"{path}::P", rootdir=tmp_path)
    assert file.objections("  Route {text}!\n  Now.") == (
        "It is not a valid prompt: app.py:3: what P is passed through (dedent, strip) would change it.",
    )


@pytest.mark.parametrize(
    ("module", "language", "variables"),
    [
        ("P = 'Route {text}'", "format", {"text"}),
        ("P = 'Route {{ text }}'", "jinja2", {"text"}),
        ("P = 'Route %(text)s'", "percent", {"text"}),
        ("P = 'Route $text'", "template", {"text"}),
        ("import string\nP = string.Template('Route $text {x}')", "template", {"text"}),
        ("from jinja2 import Template\nP = Template('Route {{ text }} {x}')", "jinja2", {"text"}),
        ("P = 'Route {{#a}}{{b}}{{/a}}'", "mustache", {"a", "b"}),
        ("P = 'Route it: 50% of $5'", "none", set()),
    ],
)
def test_its_template_language_is_seen(
    tmp_path: Path, module: str, language: str, variables: set[str]
) -> None:
    path = tmp_path / "app.py"
    path.write_text(module)
    file = PromptFile.load(f"{path}::P", rootdir=tmp_path)
    assert file.language.name == language
    assert file.variables == variables


def test_a_variable_keeps_its_spaces_where_the_language_is_guessed(tmp_path: Path) -> None:
    """The application may look for exactly this text."""
    path = tmp_path / "app.py"
    path.write_text("P = 'Route {{ticket}} now.'\n")
    guessed = PromptFile.load(f"{path}::P", rootdir=tmp_path)
    assert guessed.objections("Do route {{ ticket }} now.") == (
        "It writes {{ ticket }} where the text has {{ticket}}; spaces count for whoever fills it in.",
    )
    assert guessed.objections("Do route {{ticket}} now, {{ticket}}.") == ()
    assert "nobody says that it is Jinja2" in guessed.takes_no_examples
    assert guessed.read_again().takes_no_examples == guessed.takes_no_examples
    said = PromptFile.load(f"{path}::P", rootdir=tmp_path, language=JINJA2)
    assert (said.objections("Do route {{ ticket }} now."), said.takes_no_examples) == ((), "")


def test_a_field_in_a_text_that_no_language_can_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_text("P = 'Route {ticket} as {\"queue\": 1}'\n")
    file = PromptFile.load(f"{path}::P", rootdir=tmp_path)
    with pytest.raises(
        RenderError, match=r"it has \{ticket\}, but no template language: name one by template="
    ):
        file.render({"ticket": "x"})
    assert file.objections('Route it as {"queue": 1}.') == ("It lost the placeholder {ticket}.",)


def test_the_module_is_never_run(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_text(
        dedent("""
        raise SystemExit("it was run")
        PROMPT = "Route {text}."
        """)
    )
    file = PromptFile.load(f"{path}::PROMPT", rootdir=tmp_path)
    assert file.name == "app.py::PROMPT"
    assert [turn.content for turn in file.render({"text": "this"})] == ["Route this."]
    assert file.with_prose("Now route {text}.").content() == path.read_bytes().replace(b"Route", b"Now route")
