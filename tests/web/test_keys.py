"""The file of API keys."""

import stat

import pytest
from fovea_client import InvalidInput
from fovea_web import keys
from hypothesis import given
from hypothesis import strategies as st


def test_a_key_is_shown_once_and_its_hash_is_readable_only_by_the_owner(tmp_path):
    path = tmp_path / "folder" / "keys.txt"
    key = keys.add(path, "alice")
    assert key not in path.read_text() and keys.digest(key) in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(key) > 40 and keys.add(path, "bob") != key
    assert [one.name for one in keys.read(path)] == ["alice", "bob"]


def test_comments_and_other_lines_stay(tmp_path):
    path = tmp_path / "keys.txt"
    path.write_text(f"# of the lab\nalice {'0' * 64} 2030-01-01\n\n")
    keys.add(path, "bob", "2031-06-01")
    keys.remove(path, "bob")
    assert path.read_text() == f"# of the lab\nalice {'0' * 64} 2030-01-01\n\n"
    assert keys.read(path)[0].expires.isoformat() == "2030-01-01T00:00:00+00:00"


@pytest.mark.parametrize("name", ["", "two words", "a" * 65, "naïve", "a/b"])
def test_a_name_must_be_fit_for_a_line(tmp_path, name):
    with pytest.raises(InvalidInput):
        keys.add(tmp_path / "keys.txt", name)
    assert not (tmp_path / "keys.txt").exists()


def test_errors_name_the_wrong_line(tmp_path):
    path = tmp_path / "keys.txt"
    for text in ("alice", "alice abc", f"alice {'0' * 64} soon", f"alice {'0' * 64} 2030 x"):
        path.write_text(f"# first\n{text}\n")
        with pytest.raises(InvalidInput, match=":2: expected"):
            keys.read(path)
    with pytest.raises(InvalidInput):
        keys.read(tmp_path / "nothing.txt")
    path.write_text(f"alice {'0' * 64}\n")
    with pytest.raises(InvalidInput, match="another name"):
        keys.add(path, "alice")
    with pytest.raises(InvalidInput, match="bob"):
        keys.remove(path, "bob")


@given(st.text())
def test_no_other_text_is_a_key(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.add(path, "alice")
    with pytest.raises(keys.InvalidKey):
        keys.Keys(path).check(f"Bearer {text}")
