"""Lists of senders and clients: what an entry may be, and the rows it becomes."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.deciding import lists
from tracker.deciding.lists import ClientIndex, entry, parse, sender_rows, spellings
from tracker.errors import ListError
from tracker.records import Row

NETWORKS = st.builds(
    lambda number, length: str(ipaddress.ip_network((number, length), strict=False)),
    st.integers(0xC0000000, 0xC00001FF),
    st.integers(20, 32),
)


@pytest.mark.parametrize(
    ("written", "kind", "key"),
    [
        ("Example.COM", "domain", "example.com"),
        (".example.com", "domain", "example.com"),
        ("example.com.", "domain", "example.com"),
        ("_dmarc.example.com", "domain", "_dmarc.example.com"),
        ("localhost", "domain", "localhost"),
        ("Bücher.test", "domain", "bücher.test"),
        ("Alice@Example.com", "address", "alice@example.com"),
        ("alice+news@example.com", "address", "alice+news@example.com"),
        ("192.0.2.1", "client", "192.0.2.1/32"),
        ("192.0.2.0/24", "client", "192.0.2.0/24"),
        ("2001:DB8::/32", "client", "2001:db8::/32"),
        ("2001:db8:0::1", "client", "2001:db8::1/128"),
        ("::ffff:192.0.2.1", "client", "192.0.2.1/32"),
    ],
)
def test_an_entry_is_an_address_a_domain_or_a_network(written: str, kind: str, key: str) -> None:
    one = entry(written, "w")
    assert (one.kind, one.key) == (kind, key)


@pytest.mark.parametrize(
    "written",
    [
        "",
        ".",
        "a..b",
        "-a.test",
        "a-.test",
        "exa mple.com",
        "10.1",
        "192.0.2",
        "192.0.2.1/24",
        "010.0.0.1",
        "*.example.com",
        "example.com REJECT",
        "@example.com",
        "a b@example.com",
        '"a"@example.com',
        "a@b@example.com",
        "#x@example.com",
        "a\x00@example.com",
        "<>",
        "fe80::1%eth0",
        "x" * 64 + ".test",
    ],
)
def test_what_is_none_is_an_error_that_shows_it(written: str) -> None:
    with pytest.raises(ListError, match=r"is no|is never"):
        entry(written, "w")


def test_all_bad_lines_of_a_file_are_reported_each_with_its_place() -> None:
    text = "# comment\nexample.com # ours\n\n10.1\nok.test\na..b\n"
    with pytest.raises(ListError) as raised:
        parse(text, "f")
    assert [line.split(": ")[0] for line in str(raised.value).splitlines()] == ["f:4", "f:6"]
    assert [one.where for one in parse("a.test\n\nb.test", "f")] == ["f:1", "f:3"]


def test_a_domain_is_kept_in_its_own_letters_and_as_xn() -> None:
    assert spellings("bücher.test") == ("bücher.test", "xn--bcher-kva.test")
    assert spellings("xn--bcher-kva.test") == ("bücher.test", "xn--bcher-kva.test")
    assert spellings("example.com") == ("example.com",)
    # Postfix folds ß to ss before it asks; the other spelling is the name as it is registered.
    assert spellings(entry("Straße.test", "w").key) == ("strasse.test", "xn--strae-oqa.test")


def test_subdomains_get_a_key_of_their_own_where_postfix_wants_one() -> None:
    one = [entry(".d.test", "w"), entry("x@e.test", "w"), entry("192.0.2.1", "w")]
    assert [key for key, _ in sender_rows(one, "OK", parents=True)] == ["d.test", "x@e.test"]
    dotted = [key for key, _ in sender_rows(one, "OK", parents=False)]
    assert dotted == ["d.test", ".d.test", "x@e.test"]


@given(st.text(max_size=30))
def test_no_text_is_a_traceback_and_no_key_holds_a_blank(text: str) -> None:
    try:
        one = entry(text, "w")
    except ListError:
        return
    rows = list(sender_rows([one], "OK", parents=False)) + list(lists.client_rows([one], "OK"))
    assert rows
    assert not any(char.isspace() for key, _ in rows for char in key)
    assert not any(key.startswith(("#", '"')) for key, _ in rows)


@given(st.sets(NETWORKS, max_size=8), st.integers(0xC0000000, 0xC00001FF))
def test_the_index_finds_what_looking_through_all_networks_finds(
    networks: set[str], number: int
) -> None:
    address = ipaddress.ip_address(number)
    holding = [net for net in networks if address in ipaddress.ip_network(net)]
    found = ClientIndex({net: Row(net) for net in networks}).find(str(address))
    longest = max(holding, key=lambda net: int(net.partition("/")[2]), default=None)
    assert (found[0] if found else None) == longest
