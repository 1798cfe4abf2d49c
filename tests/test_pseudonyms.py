"""Users named by tokens: always the same one, and no name where it was promised to be hidden."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker import config
from tracker.errors import StoreError
from tracker.pseudonyms import Names, names
from tracker.settings import Settings


def settings(folder: Path, *, on: bool = True) -> Settings:
    return config.parse(
        f'[state]\ndirectory = "{folder}"\n[privacy]\nhash_users = {str(on).lower()}\n', "x.toml"
    )


def test_a_user_has_one_token_across_processes_and_each_user_another(tmp_path: Path) -> None:
    first, again = (names(settings(tmp_path), make=True) for _ in range(2))
    assert first("alice@example.com") == again("alice@example.com")
    assert first("alice@example.com") != first("bob@example.com")


def test_the_token_is_what_the_manual_says(tmp_path: Path) -> None:
    token = names(settings(tmp_path), make=True)("alice@example.com")
    key = (tmp_path / "users.key").read_bytes()
    assert token == "u-" + hmac.new(key, b"alice@example.com", hashlib.sha256).hexdigest()[:16]


def test_the_key_is_for_nobody_else_and_without_the_setting_there_is_none(tmp_path: Path) -> None:
    assert names(settings(tmp_path, on=False), make=True)("alice") == "alice"
    assert not list(tmp_path.iterdir())
    names(settings(tmp_path), make=True)
    (key,) = tmp_path.iterdir()
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.stat().st_nlink == 1


def test_who_only_looks_makes_no_key_and_shows_no_name(tmp_path: Path) -> None:
    assert names(settings(tmp_path))("alice").startswith("u-")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_key_that_is_none_is_refused_rather_than_names_shown(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "users.key").write_bytes(content)
    with pytest.raises(StoreError, match=r"users\.key: is no key of 32 bytes: move it away"):
        names(settings(tmp_path), make=True)


@given(st.text(st.characters()))
def test_a_token_is_one_printable_word_whatever_the_name(user: str) -> None:
    token = Names(b"k" * 32)(user)
    assert len(token) == 18
    assert token.isascii()
    assert token.isprintable()
    assert " " not in token


def test_the_setting_is_off_by_default() -> None:
    assert msgspec.to_builtins(Settings().privacy) == {"hash_users": False}
