"""The forms of an entry: what each stands for, and how each mistake is told."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.deciding.entries import SEPARATE, spans_or_name
from tracker.deciding.spans import BITS, blocks
from tracker.deciding.trusted import parse, parse_entry
from tracker.errors import TrustedError


@pytest.mark.parametrize(
    ("entry", "networks"),
    [
        ("203.0.113.5", ["203.0.113.5/32"]),
        ("2001:DB8::5", ["2001:db8::5/128"]),
        ("::ffff:203.0.113.5", ["203.0.113.5/32"]),
        ("::ffff:cb00:7105", ["203.0.113.5/32"]),
        ("172.16.10.0/24", ["172.16.10.0/24"]),
        ("172.16.10.0 / 24", ["172.16.10.0/24"]),
        ("172.16.10.0/255.255.255.0", ["172.16.10.0/24"]),
        ("203.0.113.5/255.255.255.255", ["203.0.113.5/32"]),
        ("0.0.0.0/0", ["0.0.0.0/0"]),
        ("0.0.0.0/0.0.0.0", ["0.0.0.0/0"]),
        ("2001:db8::/32", ["2001:db8::/32"]),
        ("::/0", ["::/0"]),
        ("::ffff:203.0.113.0/120", ["203.0.113.0/24"]),
        ("192.168.1.*", ["192.168.1.0/24"]),
        ("192.168.*.*", ["192.168.0.0/16"]),
        ("10.*.*.*", ["10.0.0.0/8"]),
        ("*.*.*.*", ["0.0.0.0/0"]),
        ("10.0.*.1-2", [f"10.0.{n}.{end}/32" for n in range(256) for end in (1, 2)]),
        ("192.168.0.0-3", ["192.168.0.0/30"]),
        ("192.168.0.1 - 3", ["192.168.0.1/32", "192.168.0.2/31"]),
        ("172.16-31.*.*", ["172.16.0.0/12"]),
        ("10.0.0-1.5", ["10.0.0.5/32", "10.0.1.5/32"]),
        ("10.0-1.4-5.6-7", [f"10.{a}.{b}.6/31" for a in (0, 1) for b in (4, 5)]),
        ("10.0.0.5-10.0.0.8", ["10.0.0.5/32", "10.0.0.6/31", "10.0.0.8/32"]),
        ("10.0.0.255 - 10.0.1.0", ["10.0.0.255/32", "10.0.1.0/32"]),
        ("2001:db8::-2001:db8::3", ["2001:db8::/126"]),
        ("::ffff:10.0.0.0-::ffff:10.0.0.3", ["10.0.0.0/30"]),
    ],
)
def test_an_entry_becomes_the_fewest_networks(entry: str, networks: list[str]) -> None:
    assert list(parse_entry(entry).networks) == networks


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("mail.example.com", "mail.example.com"),
        ("Mail.Example.COM.", "mail.example.com"),
        ("printer-2.office.example.com", "printer-2.office.example.com"),
        ("192-0-2-1.dsl.example.net", "192-0-2-1.dsl.example.net"),
        ("3com.example", "3com.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_what_is_no_address_is_a_host_name(entry: str, name: str) -> None:
    assert parse_entry(entry).name == name
    assert parse_entry(f"! {entry}").name == name
    assert not parse_entry(f"!{entry}").trusts


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("010.0.0.1", "'010' has a leading zero, which some read as octal: write 10"),
        ("10.0.0.01-9", "'01' has a leading zero"),
        ("10.00.0.0/8", "'00' has a leading zero, which some read as octal: write 0"),
        ("10.0.0.01-10.0.0.9", "'01' has a leading zero"),
        ("10.1", "an IPv4 mask has four octets"),
        ("10.*", "an IPv4 mask has four octets"),
        ("1.2.3.4.5", "an IPv4 mask has four octets"),
        ("10.0.0.256", "'256' is no range between 0 and 255"),
        ("10.0.0.9-5", "'9-5' is no range between 0 and 255"),
        ("10.0.0.*-5", "'*-5' is no octet"),
        ("10.0.0.9-10.0.0.5", "runs backwards; did you mean 10.0.0.5-10.0.0.9?"),
        ("10.0.0.9-10.0.0.256", "'10.0.0.256' is no whole address"),
        ("10.0.0-10.0.0.5", "'10.0.0' is no whole address"),
        ("10.0.0.1-2001:db8::1", "mixes IPv4 and IPv6"),
        ("203.0.113.5/24", "bits are set behind the mask; did you mean 203.0.113.0/24?"),
        ("2001:db8::1/64", "bits are set behind the mask; did you mean 2001:db8::/64?"),
        ("203.0.113.0/33", "/33 is no mask: write /24 or /255.255.255.0"),
        ("203.0.113.0/024", "/024 is no mask"),
        ("203.0.113.0/", "/ is no mask"),
        ("2001:db8::/129", "/129 is no mask: write /64"),
        ("2001:db8::/ffff::", "/ffff:: is no mask"),
        ("203.0.113.0/255.0.255.0", "/255.0.255.0 is no mask"),
        ("203.0.113.0/0.0.0.255", "/0.0.0.255 is an inverse mask; did you mean /24?"),
        ("10.0.0.1-5/24", "'10.0.0.1-5' is no whole address: write the range without /24"),
        ("10/8", "'10' is no whole address"),
        ("::ffff:10.0.0.0/64", "wider than all of IPv4 in IPv6"),
        ("fe80::1%eth0", "a zone id means something on one host alone"),
        ("[2001:db8::1]", "write the address without brackets"),
        ("2001:db8:*:*:*:*:*:*", "IPv6 has no masks with stars"),
        ("2001:db8::1-ff", "'ff' is no whole address"),
        ("2001:db8-db9:1", "a range of IPv6 has a whole address at each end"),
        ("2001:db8:::1", "no IPv6 address"),
        ("203.0.113.5:25", "no IPv6 address"),
        ("203.0.113.5 203.0.113.6", "one entry a line"),
        ("203.0.113.5, 203.0.113.6", "one entry a line"),
        ("203.0.113.5;", "one entry a line"),
        ("*.example.com", "a name with stars cannot be looked up"),
        ("printer", "a name is looked up whole: write it with its domain"),
        ("localhost", "a name is looked up whole"),
        ("-a.example.com", "expected an address"),
        ("a..example.com", "expected an address"),
        ("bücher.example", "names of other letters in their xn-- form"),
        ("\u0661.2.3.4", "expected an address"),
        ("0x7f.0.0.1", "an address in an unusual form"),
        ("0x7f000001", "an address in an unusual form"),
        ("3405803781", "is no octet"),
        ("!", "expected an address"),
        ("!!203.0.113.5", "expected an address"),
        ("*.*.*.1", "more than 65536 separate ranges; write networks"),
        ("1-250.0-250.1-250.1", "more than 65536 separate ranges"),
    ],
)
def test_a_line_that_is_no_entry_is_refused_with_its_number_and_what_was_meant(
    line: str, why: str
) -> None:
    with pytest.raises(TrustedError) as raised:
        parse(f"# ours\n\n203.0.113.1\n{line}\n", "/etc/popgate/trusted.txt")
    assert str(raised.value).startswith(f"/etc/popgate/trusted.txt:4: {line!r}: ")
    assert why in str(raised.value)


def test_as_many_ranges_as_a_mask_of_two_stars_has_are_one_entry() -> None:
    assert len(parse_entry("10.*.*.1").spans) == SEPARATE


_ANY = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\n#"), max_size=40)
_ALIKE = st.from_regex(r"[0-9.*/:a-f\- ]{1,24}", fullmatch=True)


@given(st.one_of(_ANY, _ALIKE))
def test_any_text_is_an_entry_or_a_mistake_that_is_told(text: str) -> None:
    meant: object = None
    with suppress(ValueError):
        meant = spans_or_name(text.strip())
    if isinstance(meant, tuple):
        assert all(blocks(span) for span in meant[:100])
        assert all(0 <= span.first <= span.last < 1 << BITS[span.version] for span in meant)
    else:
        assert meant is None or "." in str(meant)
