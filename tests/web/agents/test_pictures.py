"""Which files can be opened: none outside the folders is ever read."""

from __future__ import annotations

import base64
import contextlib
import os
from pathlib import Path

import pytest
from fovea_client import ImageTooLarge, InvalidImage
from fovea_web.agents import pictures
from fovea_web.agents.pictures import Folders
from hypothesis import given
from hypothesis import strategies as st

from fovea.limits import Limits

SECRET, PHOTO, OTHER = b"secret", b"photo", b"other"
LIMITS = Limits(image_bytes=1000)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """photos/ and more/ are allowed; links lead within and out of them."""
    top = tmp_path_factory.mktemp("tree").resolve()
    for name, data in (
        ("secret.jpg", SECRET),
        ("photos/a.jpg", PHOTO),
        ("photos/sub/b.jpg", PHOTO),
        ("photos/empty.png", b""),
        ("photos/large.jpg", b"x" * 1001),
        ("photos/.hidden.jpg", PHOTO),
        ("photos-too/c.jpg", SECRET),
        ("more/d.webp", OTHER),
    ):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    links = {
        "photos/inside.jpg": "sub/b.jpg",
        "photos/over.jpg": "../more/d.webp",
        "photos/out.jpg": "../secret.jpg",
        "photos/up": "..",
        "photos/loop.jpg": "loop.jpg",
        "photos/absolute.jpg": str(top / "secret.jpg"),
    }
    for name, target in links.items():
        (top / name).symlink_to(target)
    os.mkfifo(top / "photos/pipe.jpg")
    return top


@pytest.fixture(scope="module")
def folders(tree: Path) -> Folders:
    return Folders([tree / "photos", tree / "more"], LIMITS)


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("a.jpg", PHOTO),
        ("sub/b.jpg", PHOTO),
        ("sub/../a.jpg", PHOTO),
        ("d.webp", OTHER),
        ("inside.jpg", PHOTO),
        ("over.jpg", OTHER),
        ("up/photos/a.jpg", PHOTO),
    ],
)
def test_files_within_are_read(folders: Folders, tree: Path, path: str, data: bytes) -> None:
    assert folders.read(path) == data
    assert folders.read(str(tree / "photos" / path) if data is PHOTO else path) == data


@pytest.mark.parametrize(
    "path",
    [
        "", ".", "sub", "nothing.jpg", "../secret.jpg", "up/secret.jpg", "out.jpg", "absolute.jpg",
        "loop.jpg", "../photos-too/c.jpg", "pipe.jpg", "a.jpg\0", "a.jpg/b", "x" * 5000, "~/a.jpg",
        "/etc/passwd", "file:///etc/passwd", "\ud800",
    ],
)  # fmt: skip
def test_no_other_file_is_read(folders: Folders, path: str) -> None:
    with pytest.raises(InvalidImage, match="expected a picture file below"):
        folders.read(path)


def test_the_refusal_does_not_reveal_whether_a_file_outside_exists(
    folders: Folders, tree: Path
) -> None:
    told = []
    for name in ("secret.jpg", "absent.jpg"):
        with pytest.raises(InvalidImage) as refused:
            folders.read(f"{tree}/{name}")
        told.append(str(refused.value).replace(name, ""))
    assert told[0] == told[1]


PARTS = st.sampled_from(
    ["..", ".", "", "photos", "more", "sub", "a.jpg", "b.jpg", "up", "out.jpg", "secret.jpg",
     "photos-too", "c.jpg", "over.jpg", "inside.jpg", "/", "d.webp"]
)  # fmt: skip


@given(st.one_of(st.lists(PARTS, max_size=8).map("/".join), st.text(max_size=40)), st.booleans())
def test_no_request_reveals_the_secret(
    folders: Folders, tree: Path, path: str, absolute: bool
) -> None:
    asked = f"{tree}/{path}" if absolute else path
    try:
        data = folders.read(asked)
    except InvalidImage:
        return
    assert data in (PHOTO, OTHER)
    real = Path(os.path.realpath(asked if absolute else tree / "photos" / path))
    assert not real.is_file() or real.is_relative_to(tree)


def test_a_folder_that_becomes_a_link_meanwhile_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "photos/sub").mkdir(parents=True)
    (tmp_path / "photos/sub/a.jpg").write_bytes(PHOTO)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/a.jpg").write_bytes(SECRET)
    root = tmp_path / "photos"
    checked = Folders([root])._find("sub/a.jpg")
    (root / "sub/a.jpg").unlink()
    (root / "sub").rmdir()
    (root / "sub").symlink_to("../outside")
    with pytest.raises(OSError):
        pictures._open_below(*checked)


def test_sizes_are_bounded(folders: Folders) -> None:
    with pytest.raises(ImageTooLarge, match="expected at most 1000 bytes of picture, got 1001"):
        folders.read("large.jpg")
    with pytest.raises(InvalidImage, match="got 0 bytes"):
        folders.read("empty.png")


def test_pictures_are_listed_except_hidden_ones_and_links_that_lead_out(tree: Path) -> None:
    one = Folders([tree / "photos"], LIMITS)
    assert one.pictures() == ["a.jpg", "empty.png", "inside.jpg", "large.jpg", "sub/b.jpg"]
    assert one.pictures("sub") == ["sub/b.jpg"]
    with pytest.raises(InvalidImage):
        one.pictures("up")
    both = Folders([tree / "photos", tree / "more"], LIMITS)
    assert str(tree / "more/d.webp") in both.pictures()


def test_a_folder_that_is_a_file_is_refused(tree: Path) -> None:
    with pytest.raises(NotADirectoryError):
        Folders([tree / "photos/a.jpg"])


@given(st.binary(min_size=1, max_size=1000), st.sampled_from(["", "data:image/png;base64,"]))
def test_base64_comes_back_as_it_was(data: bytes, prefix: str) -> None:
    assert pictures.decode(prefix + base64.b64encode(data).decode(), LIMITS) == data


@given(st.text(max_size=60))
def test_any_text_is_a_picture_or_a_typed_refusal(text: str) -> None:
    with contextlib.suppress(InvalidImage):
        assert pictures.decode(text, LIMITS)


def test_base64_is_bounded_before_it_is_decoded() -> None:
    with pytest.raises(ImageTooLarge):
        pictures.decode("A" * 4000, LIMITS)
    with pytest.raises(InvalidImage, match="a data URI in base64"):
        pictures.decode("data:image/png,hello", LIMITS)
