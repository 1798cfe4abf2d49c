"""Postfix's own commands, run for real; where one must hang, a stand-in of that name does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracker.errors import PostfixError
from tracker.settings import Duration, PostfixSettings
from tracker.writing.postfix import Postfix


@pytest.fixture
def postfix(postfix_config: Path) -> Postfix:
    return Postfix(PostfixSettings(config_directory=str(postfix_config)))


@pytest.fixture
def table(tmp_path: Path, postfix: Postfix) -> str:
    name = f"lmdb:{tmp_path}/pop_before_smtp"
    postfix.replace(name, {})
    return name


def stand_in(folder: Path, name: str, script: str) -> Postfix:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return Postfix(PostfixSettings(command_directory=str(folder), timeout=Duration(seconds=0.3)))


def test_entries_are_added_replaced_and_deleted_in_place(postfix: Postfix, table: str) -> None:
    postfix.put(table, {"203.0.113.5": "1", "2001:db8::5": "2"})
    postfix.put(table, {"203.0.113.5": "3"})
    assert postfix.read(table) == {"203.0.113.5": "3", "2001:db8::5": "2"}
    assert postfix.query(table, "203.0.113.5") == "3"
    postfix.delete(table, ["203.0.113.5", "198.51.100.1"])
    assert postfix.read(table) == {"2001:db8::5": "2"}
    assert postfix.query(table, "203.0.113.5") is None


def test_deleting_keys_that_are_not_there_does_no_harm(postfix: Postfix, table: str) -> None:
    postfix.delete(table, ["198.51.100.1"])
    assert postfix.read(table) == {}


def test_a_word_on_stderr_is_a_failure_though_postmap_exits_0(postfix: Postfix, table: str) -> None:
    with pytest.raises(PostfixError, match="expected format: key whitespace value"):
        postfix.put(table, {"203.0.113.5": ""})


def test_a_warning_about_the_admins_own_main_cf_is_none(
    postfix: Postfix, table: str, postfix_config: Path
) -> None:
    (postfix_config / "main.cf").write_text(
        "compatibility_level = 3.6\nmyhostname = a\nmyhostname = b\n"
    )
    postfix.put(table, {"203.0.113.5": "1"})
    assert postfix.read(table) == {"203.0.113.5": "1"}


def test_a_table_that_is_missing_is_an_error(postfix: Postfix, tmp_path: Path) -> None:
    with pytest.raises(PostfixError, match="No such file or directory"):
        postfix.read(f"lmdb:{tmp_path}/nowhere")


def test_the_table_types_are_what_postconf_says(postfix: Postfix) -> None:
    assert {"cidr", "lmdb"} <= postfix.table_types()


def test_a_command_that_is_missing_is_named_with_what_to_do(tmp_path: Path) -> None:
    postfix = Postfix(PostfixSettings(command_directory=str(tmp_path)))
    with pytest.raises(
        PostfixError, match=r"postmap is not in .*install Postfix, or set postfix\."
    ):
        postfix.read("lmdb:/x")


def test_a_command_that_hangs_is_killed(tmp_path: Path) -> None:
    with pytest.raises(PostfixError, match=r"killed after 0\.3 s"):
        stand_in(tmp_path, "postmap", "exec sleep 60").put("lmdb:/x", {"a": "1"})


def test_a_command_that_fails_gives_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(PostfixError, match="fatal: the disk is on fire"):
        stand_in(tmp_path, "postmap", "echo 'fatal: the disk is on fire' >&2; exit 1").read(
            "lmdb:/x"
        )


def test_a_postfix_that_does_not_run_needs_no_reload(
    postfix: Postfix, postfix_config: Path
) -> None:
    with (postfix_config / "main.cf").open("a") as file:
        file.write(f"queue_directory = {postfix_config}\n")
    assert not postfix.running()


def test_what_main_cf_names_is_found(postfix: Postfix, postfix_config: Path) -> None:
    maps = Path("/var/lib/popgate/maps")
    assert not postfix.names(maps)
    with (postfix_config / "main.cf").open("a") as file:
        file.write(f"popgate_dir = {maps}\nsmtpd_client_restrictions = cidr:$popgate_dir/x\n")
    assert postfix.names(maps)


def test_only_root_may_reload(postfix: Postfix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(PostfixError, match="only root may reload Postfix: run `postfix reload`"):
        postfix.reload()
