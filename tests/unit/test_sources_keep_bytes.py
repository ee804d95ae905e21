"""Whatever text takes the place of a prompt is read again as it is, and no other byte of its file changes.

What is around a prompt is said here by hand, ``«`` and ``»`` in each file, and not asked of the code.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_promptopt.errors import PromptFileError
from pytest_promptopt.prompts.layout import unify_newlines
from pytest_promptopt.prompts.sources import Address, SourceText, source_of

#: Address -> files with the prompt between ``«`` and ``»``, quotes and all.
PLACES: Mapping[str, tuple[str, ...]] = {
    "app.py::P": (
        '# é\nP = «"Route {text}."»  # why\n\nB = "Route {text}."\n',
        'class A:\n\tX = """a\n\t"""\n\nP: str = «"""\\\nRoute\t{text}.\n\n  ü\n"""».strip(); B = 2\n',
        'P = (  # é\n    «"Route\\n"  # one\n    # of the field\n    "{text}"»  # two\n)\n',
        "P = «r'Route {text}'»\n",
        'from textwrap import dedent as d\n\n\nP = d(«"""\n    Route:\n      {text}\n    """»)\n\n\n\n',
    ),
    "app.py::A": (
        'import dspy\n\n\nclass A(dspy.Signature):\n    «"""Route\n      {text}.\n    """»\n\n'
        '    q = "é"  # why\n',
    ),
    "app.py::S": ('from dspy import Signature as Sig\n\nS = Sig("q -> a", «"Route {text}"»)  # é\n',),
    "program.json::route": (
        '{\n\t"é" : 1.50,\n  "route.predict": {"demos": [], "signature": {"instructions": «"Route\\nit"»,\n'
        '  "fields": [{"prefix": "Route\\nit"}]}, "lm": null}\n}\n',
    ),
    "app.py::A.P": ('class A:\n\t"""é"""\n\n\tP = «"Route {text}"»\n\n\tdef f(self):\n\t\treturn 1  \n',),
    'app.py::P["a"][1]': (
        'P = {\n  "a": ["é", «"""Route\n{text}"""», "x"],  # why\n  "b": "Route\\n{text}",\n}\n',
    ),
    "app.yaml::a.s": (
        "# é\na:\n  s: «|\n    Route: {text}\n\n      in»\n\n  # of t\n  t: |\n    Route: {text}\nb: [1]\n",
        "a:   {s: «Route it»,   t: &x 'é'}\nb: *x\n",
        "a:\n    s: «>-\n        Route\n        it»\n    t: |+\n        é\n\n",
        "z: ü\na:\n  s: «'Route it'»\n  t: !!str 1\n",
        'z: 1.50\na:\n  s: «"Route\\tit"» # why\n  t: ~\n',
    ),
    "app.json::a[0].s": (
        '{\n\t"é" : 1.50,\n\t"a": [{"s" : «"Route\\n\\u00e9"»}, {"s": "Route\\n\\u00e9"}]\n}\n',
    ),
    "app.toml::a.s": (
        '"é" = 1.50 # x\n[ a ]\nt = "Route it"\n  s  = «"Route it"» # why\n[[b]]\ns = "Route it"\n',
        "[a]\ns = «'''\nRoute\n it'''»\nt = '''\nRoute\n it'''\n",
        'a = { s = «"Route it"», t = "é" }\n',
        '[a]\ns = «"""\nRoute \\u00e9 it\n"""»\n# end',
    ),
    "a.prompty": ("---\nname:   é\ninputs: [ {name: it} ]\n---\n\n«system:\nRoute.\nuser:\n{{it}}»\n\n",),
    "SKILL.md": ("---\nname:   é\nkeys: 'of others'\n---\n\n\n«# Route\n\n{{ all }} of it»\n\n\n",),
    "SKILL.md::description": (
        "---\nname:   é\ndescription: «Route it»\nkeys: 'of others'\n---\n# Route it\n",
    ),
    "a.md": (
        "---\nmodel: demo\n---\n«Route {{ it }}\n\tnow»\n",
        "«Route {{ it }}»",
        "\n\n«Route {{ it }}»\n",
    ),
    "a.txt": ("«Route {{ it }}\n\té»\n",),
}
#: What may be put into the place of a prompt besides what stands in it.
TEXTS = st.text(
    st.sampled_from("ab \\\"'\n\t{}é—\x00\x1b\u2028n:#-|>[]*&%@0y\x85\ufeff"), max_size=25
) | st.lists(
    st.sampled_from(["Route", "it", "\n", " ", "Route: {text}\n", "\n\n", "é", "'''", '"""', "---\n", "# "]),
    max_size=9,
).map("".join)

CASES = [(place, text) for place, texts in PLACES.items() for text in texts]


@dataclass(frozen=True)
class Around:
    """A file, and what of it must stay."""

    place: str
    before: str
    written: str
    after: str

    @classmethod
    def of(cls, place: str, marked: str, *, line_end: str, mark: str, is_cut: bool) -> Around:
        text = mark + (marked.rstrip("\n") if is_cut else marked).replace("\n", line_end)
        before, _, rest = text.partition("«")
        written, _, after = rest.partition("»")
        return cls(place, before, written, after)

    def read(self, text: str) -> SourceText:
        source, address = source_of(Address.parse(self.place))
        return source.read(text.encode(), name=address.path.name)

    @property
    def text(self) -> str:
        return self.before + self.written + self.after

    def keeps(self, changed: str) -> bool:
        """Whether all is there that was around the prompt, in its place."""
        if not changed.startswith(self.before):
            return False
        inside = changed[len(self.before) :]
        line, _, later = self.after.partition("\n")
        if "#" in line and not inside.endswith(self.after):
            # Behind a text of YAML that becomes a block a comment goes behind the head of the block.
            return inside.partition("\n")[0].endswith(line) and inside.endswith(later)
        return inside.endswith(self.after)


@pytest.mark.parametrize(("place", "marked"), CASES)
@settings(max_examples=60, deadline=None)
@given(
    candidate=TEXTS,
    line_end=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from(["", "\ufeff"]),
    is_cut=st.booleans(),
)
@example(candidate="One\ntwo\n\nthree", line_end="\r\n", mark="\ufeff", is_cut=True)
@example(candidate="Route", line_end="\n", mark="", is_cut=False)
def test_what_is_around_stays(
    place: str, marked: str, candidate: str, line_end: str, mark: str, is_cut: bool
) -> None:
    candidate = unify_newlines(candidate).strip("\n")
    file = Around.of(place, marked, line_end=line_end, mark=mark, is_cut=is_cut)
    if not candidate.strip():
        return
    try:
        changed = file.read(file.text).replaced(candidate)
    except (ValueError, PromptFileError):
        assert may_refuse(place, marked, candidate)
        return
    assert file.keeps(changed)
    assert file.read(changed).prose == candidate
    if place.startswith("app.py"):
        assert comments(changed) == comments(file.text), "those between the strings of the prompt too"
    if "\r\n" in file.text:
        assert not re.search(r"(?<!\r)\n", changed), "new lines end as those of the file"


def comments(module: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(module.removeprefix("\ufeff")).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


def may_refuse(place: str, marked: str, candidate: str) -> bool:
    """Whether there are texts that cannot stand at this place, and this is one of them."""
    if any(
        each in marked for each in ("d(", ".strip()", "dspy")
    ):  # what takes blanks away cannot give them back
        return (
            candidate != candidate.strip() or re.search(r"\t|^\s+\S|\s$|[\x00-\x1f]", candidate) is not None
        )
    whole = place.endswith((".md", ".txt", ".prompty"))
    return whole and (candidate.lstrip().startswith(("---", "\ufeff", "+++")) or "\x00" in candidate)


def test_every_kind_of_place_is_tried() -> None:
    tried = {Path(place.partition("::")[0]).suffix for place in PLACES}
    assert tried == {".py", ".yaml", ".json", ".toml", ".prompty", ".md", ".txt"}
