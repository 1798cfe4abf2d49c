"""What is counted, as `popgate status` and Prometheus get it."""

from __future__ import annotations

import socket
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from tracker.errors import MetricsError
from tracker.metrics import Metrics, PolicyMetrics, Publication, published
from tracker.settings import MetricsSettings


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics()
    policy = PolicyMetrics(made)
    for why in ("granted", "granted", "no grant"):
        policy.answers.add(why)
        policy.seconds.observe(0.0002)
    policy.seconds.observe(7)
    policy.connections.value = 2
    return made


WANTED = """\
popgate_policy_answers_total{why="granted"} 2.0
popgate_policy_answers_total{why="other sender"} 0.0
popgate_policy_answers_total{why="no grant"} 1.0
popgate_policy_connections 2.0
popgate_policy_seconds_bucket{le="0.0001"} 0.0
popgate_policy_seconds_bucket{le="0.00025"} 3.0
popgate_policy_seconds_bucket{le="3"} 3.0
popgate_policy_seconds_bucket{le="+Inf"} 4.0
popgate_policy_seconds_count 4.0
popgate_policy_seconds_sum 7.0006
"""


def test_a_snapshot_is_fit_for_json(metrics: Metrics) -> None:
    shown = metrics.snapshot()
    assert shown["policy_answers"] == {
        "granted": 2,
        "other sender": 0,
        "no grant": 1,
        "failed": 0,
    }
    assert shown["policy_seconds"]["count"] == 4
    assert shown["policy_seconds"]["not_longer_than"]["inf"] == 4
    with pytest.raises(KeyError):
        metrics.gauge("policy_connections", "a name that is taken")


def test_prometheus_reads_them_over_http(metrics: Metrics) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    asked = MetricsSettings(listen=f"127.0.0.1:{port}")
    with closing(Publication(asked, metrics)):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        assert set(WANTED.splitlines()) <= set(lines)
        with pytest.raises(MetricsError, match=r"metrics\.listen = .*: Address already in use"):
            Publication(asked, metrics)


def test_node_exporter_finds_them_in_a_file(metrics: Metrics, tmp_path: Path) -> None:
    file = tmp_path / "popgate.prom"
    with closing(Publication(MetricsSettings(textfile=str(file)), metrics)) as publication:
        publication.write()
    assert set(WANTED.splitlines()) <= set(file.read_text().splitlines())
    gone = MetricsSettings(textfile=str(tmp_path / "gone/popgate.prom"))
    with (
        closing(Publication(gone, metrics)) as publication,
        pytest.raises(MetricsError, match="No such file or directory"),
    ):
        publication.write()


def test_two_processes_have_a_place_each(metrics: Metrics, tmp_path: Path) -> None:
    run, policy = tmp_path / "run.prom", tmp_path / "policy.prom"
    asked = MetricsSettings(textfile=str(run), policy_textfile=str(policy))
    with (
        closing(Publication(asked, metrics)) as one,
        closing(Publication(asked, Metrics(), policy=True)) as other,
    ):
        one.write()
        other.write()
    assert "popgate_policy_answers_total" in run.read_text()
    assert policy.read_text() == ""


def test_a_port_that_is_taken_is_said_and_stops_nothing(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        asked = MetricsSettings(listen=f"127.0.0.1:{taken.getsockname()[1]}")
        with closing(published(asked, metrics)) as publication:
            publication.write()
    assert "Address already in use" in caplog.text
