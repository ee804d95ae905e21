"""Images and documents are known by their bytes, whatever they are called and wherever they stand."""

from __future__ import annotations

import base64
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.attachments import Document, Image, file_bytes
from pytest_promptopt.budget.ledger import input_bound
from pytest_promptopt.errors import SettingsError
from pytest_promptopt.models.content_limits import check_files
from pytest_promptopt.records import Message, Request
from pytest_promptopt.records.content import File, Thought, ToolCall, readable_parts
from pytest_promptopt.replay.call_content import CallContent

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
KINDS = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0" + bytes(50),
    "image/gif": b"GIF89a" + bytes(50),
    "image/webp": b"RIFF\x10\0\0\0WEBPVP8 " + bytes(50),
}


@pytest.mark.parametrize("media_type", KINDS)
def test_the_bytes_say_the_type(tmp_path: Path, media_type: str) -> None:
    """And not the name, which may be wrong."""
    path = tmp_path / "photo.png"
    path.write_bytes(KINDS[media_type])
    file = Image(path).file("images[0]", [])
    assert (file.media_type, file.name, file.size) == (media_type, "photo.png", len(KINDS[media_type]))
    assert file.sha256 == sha256(KINDS[media_type]).hexdigest()
    assert file_bytes(file) == KINDS[media_type]


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.csv", "a.json", "a.html", "a.py", "LICENSE"])
def test_texts_are_documents(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a,b\nü\n", encoding="utf-8")
    file = Document(name).file("documents[0]", [tmp_path])
    assert (file.media_type, file.name) == ("text/plain", name)


def test_a_path_begins_at_the_first_folder_that_has_it(tmp_path: Path) -> None:
    for folder, size in (("tests", 10), ("", 20)):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "a.png").write_bytes(PNG + bytes(size))
    assert Image("a.png").file("i", [tmp_path / "tests", tmp_path]).size == len(PNG) + 10
    (tmp_path / "tests/a.png").unlink()
    assert Image("a.png").file("i", [tmp_path / "tests", tmp_path]).size == len(PNG) + 20


def test_the_name_of_a_document_is_sent_and_that_of_an_image_is_not() -> None:
    one, two = (Image(PNG, name=name).file("i", []) for name in ("a.png", "b.png"))
    assert one.key == two.key
    one, two = (Document(b"text", name=name).file("d", []) for name in ("a.txt", "b.txt"))
    assert one.key != two.key
    assert Image(PNG).file("i", []).name == "image.png"


def test_a_changed_file_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    first = Image(path).file("i", [])
    path.write_bytes(PNG + b"x")
    assert Image(path).file("i", []).key != first.key
    with pytest.raises(ValueError, match="has changed since this run read it"):
        file_bytes(first)


def test_bytes_of_the_same_size_are_told_apart_by_their_hash(tmp_path: Path) -> None:
    """Also in the key of a request, by which its answer is kept."""
    path = tmp_path / "a.png"
    keys = []
    for last in (b"1", b"2", b"1"):
        path.write_bytes(PNG + last)
        given = CallContent.read({"images": ["a.png"]}, [tmp_path])
        keys.append(given.request(Request("demo", given.messages([Message("user", "?")]))).key)
    assert keys[0] == keys[2] != keys[1]


def test_it_is_shown_without_its_bytes() -> None:
    """Also as a parameter of a test, where it is the same in every process."""
    data = "data:image/png;base64," + base64.b64encode(PNG).decode()
    shown = repr(Image(PNG, name="a.png"))
    assert shown == repr(Image(PNG, name="a.png"))
    assert shown.startswith("Image(<a.png, 108 bytes, sha256 ")
    assert len(repr(Image(data))) < 60
    assert repr(Image(Path("a/b.png"))) == "Image('a/b.png')"
    assert readable_parts([Image(data).file("i", [])]) == "[image image.png (image/png, 108 bytes)]"


def test_an_address_is_known_by_itself() -> None:
    file = Image("https://example.org/pictures/a%20cat.png?size=2").file("i", [])
    assert (file.name, file.key) == ("a cat.png", ["image", "", file.url, "", ""])
    assert str(file) == "a cat.png (by its address)"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Image("data:image/png;base64,???"), "i has a `data:` address that is no base64"),
        (
            Image(b"\0\1\2"),
            "i: what is given is of a type that nobody knows; images are PNG, JPEG, GIF and WebP",
        ),
        (Image(b"%PDF-1.4"), "i: what is given is of type application/pdf; images are"),
        (Document(PNG), "i: what is given is of type image/png; documents are PDF files and texts"),
        (Image(7), "i must be a path or bytes, got int: 7"),  # type: ignore[arg-type]
    ],
)
def test_what_is_none_is_named(given: Any, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        given.file("i", [])
    assert str(caught.value).startswith(said)


def test_a_text_in_the_place_of_a_path_is_named_in_short(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        CallContent.read({"images": base64.b64encode(PNG * 99).decode()}, [tmp_path])
    assert str(caught.value).startswith("prompt(...): images[0]: there is no file iVBORw0KGgo")
    assert len(str(caught.value)) < 500


def asked(model: str, *files: File) -> Request:
    return Request(model, (Message("user", readable_parts(files), files),))


def large(kind: str, size: int, url: str = "") -> File:
    media = "image/png" if kind == "image" else "application/pdf"
    return File(kind, media, "" if url else "x" * 64, size, f"big.{kind}", url=url)


@pytest.mark.parametrize(
    ("model", "files", "said"),
    [
        (
            "anthropic/claude-opus-5-5",
            [large("image", 4_000_000)],
            "big.image (image/png, 4.0 MB) is too large",
        ),
        ("anthropic/claude-opus-5-5", [large("document", 13_000_000)] * 2, "one call are too large: 34.7 MB"),
        ("openai/gpt-4o", [large("image", 20_000_000)] * 2, "one call are too large: 53.3 MB"),
        ("openai/gpt-4o", [large("document", 0, "https://a.org/b.pdf")], "takes documents as bytes only"),
    ],
)
def test_what_a_provider_refuses_is_not_sent(model: str, files: list[File], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_files(asked(model, *files))
    assert said in str(caught.value)
    assert model in str(caught.value)


def test_a_refused_address_is_told_without_what_signs_it() -> None:
    file = Document("https://a.org/b.pdf?signature=hush").file("d", [])
    with pytest.raises(SettingsError) as caught:
        check_files(asked("openai/gpt-4o", file))
    assert "b.pdf (by its address) cannot be sent" in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_one_image_needs_no_list(kind: type) -> None:
    assert [file.size for file in CallContent.read({"images": kind(PNG)}, []).images] == [len(PNG)]


def test_what_nobody_is_known_to_refuse_is_sent() -> None:
    check_files(asked("ollama/llava", large("image", 90_000_000)))
    check_files(asked("anthropic/claude-opus-5-5", large("image", 3_900_000)))


def test_a_file_is_reserved_by_what_it_can_cost() -> None:
    bare = input_bound(Request("anthropic/claude-opus-5-5", (Message("user", ""),)))
    image = input_bound(asked("anthropic/claude-opus-5-5", large("image", 4_000_000)))
    assert 5_000 <= image - bare < 5_200
    assert input_bound(asked("openai/gpt-4o-mini", large("image", 100))) >= 50_000
    assert input_bound(asked("openai/gpt-4o-mini", large("document", 50_000_000))) < 210_000
    fetched = Document("https://a.org/b.pdf").file("d", [])
    assert input_bound(asked("anthropic/claude-opus-5-5", fetched)) >= 200_000, "nobody knows its pages"


def test_a_thought_that_is_sent_back_is_reserved() -> None:
    thought = Thought("so " * 1_000, signature="s" * 500)
    turn = Message("assistant", readable_parts([thought]), (thought, ToolCall("look", {}, "c")))
    assert input_bound(Request("anthropic/claude-opus-5-5", (turn,))) >= 3_500
