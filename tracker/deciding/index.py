"""The grants by address, read by one thread while another changes them; pure.

A reader takes the tuple of an address in one step of the interpreter, and a writer puts another in
its place in one: so no lock is needed, and no answer mixes an old state with a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tracker.records import Grant


class GrantIndex(Mapping[str, tuple[Grant, ...]]):
    """For each address its grants, or none."""

    def __init__(self, grants: Iterable[Grant] = ()) -> None:
        self._of: dict[str, tuple[Grant, ...]] = {}
        self.replace(grants)

    def __getitem__(self, address: str) -> tuple[Grant, ...]:
        return self._of[address]

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)

    def put(self, address: str, grants: Iterable[Grant]) -> None:
        """The grants of an address are these now."""
        if found := tuple(grants):
            self._of[address] = found
        else:
            self._of.pop(address, None)

    def replace(self, grants: Iterable[Grant]) -> None:
        """These are all grants there are."""
        found: dict[str, list[Grant]] = {}
        for grant in grants:
            found.setdefault(grant.address, []).append(grant)
        self._of = {address: tuple(those) for address, those in found.items()}
