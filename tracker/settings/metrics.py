"""[metrics]: figures for Prometheus."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class MetricsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Figures for Prometheus; `popgate status` has them without. Needs popgate[prometheus]."""

    listen: Annotated[
        str,
        Meta(
            description="Address and port of an HTTP endpoint, on loopback: 127.0.0.1:9154. "
            "Empty: none."
        ),
    ] = ""
    textfile: Annotated[
        str,
        Meta(
            description="File for node_exporter's textfile collector, such as "
            "/var/lib/prometheus/node-exporter/popgate.prom. Empty: none."
        ),
    ] = ""
    policy_listen: Annotated[
        str,
        Meta(
            description="The endpoint of a `popgate policy` that runs by itself, beside the one of "
            "`popgate run`."
        ),
    ] = ""
    policy_textfile: Annotated[
        str, Meta(description="The file of a `popgate policy` that runs by itself.")
    ] = ""
