"""[submission]: the ports where users send mail, 587 and 465."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class SubmissionSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The submission ports, which SMTP AUTH alone opens. They are read by `popgate install`."""

    enabled: Annotated[
        bool,
        Meta(
            description="Whether users send mail by port 587 (submission), with TLS and SMTP AUTH; "
            "port 25 then offers no AUTH any more. `popgate install` makes it so."
        ),
    ] = False
    implicit_tls: Annotated[
        bool,
        Meta(description="Whether there is port 465 (submissions) too, with TLS from the start."),
    ] = True
