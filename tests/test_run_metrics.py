"""The figures for Prometheus: their names, what they count, and the dashboard that asks them."""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lab.popgate import Popgate
from lab.processes import wait_for
from tests.moments import login_line
from tracker.metrics import Metrics, PolicyMetrics, Publication, RunMetrics
from tracker.settings import MetricsSettings

DASHBOARD = Path(__file__).parents[1] / "docs/grafana-dashboard.json"
DOCUMENT = Path(__file__).parents[1] / "docs/report.md"
_OUR_LABELS = {"limit", "le", "why", "kind", "outcome"}


def exported(tmp_path: Path) -> dict[str, set[str]]:
    """Every sample that popgate can export, with its labels."""
    metrics = Metrics()
    RunMetrics(metrics)
    PolicyMetrics(metrics)
    file = tmp_path / "popgate.prom"
    publication = Publication(MetricsSettings(textfile=str(file)), metrics)
    publication.write()
    publication.close()
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(file.read_text())
        for sample in family.samples
    }


def queries() -> Iterator[str]:
    board = json.loads(DASHBOARD.read_text())
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (
        one["query"]["query"] for one in board["templating"]["list"] if one["type"] == "query"
    )


def test_names_and_units_are_by_the_conventions(tmp_path: Path) -> None:
    metrics = Metrics()
    RunMetrics(metrics)
    PolicyMetrics(metrics)
    for name in exported(tmp_path):
        assert re.fullmatch(r"popgate_[a-z][a-z_]*[a-z]", name)
    for name, figure in metrics.figures():
        assert figure.help.endswith("."), name
        assert not name.endswith(("_total", "_count", "_sum", "_bucket")), name


def test_no_label_tells_of_a_user_or_an_address(tmp_path: Path) -> None:
    assert set().union(*exported(tmp_path).values()) <= _OUR_LABELS


def test_every_figure_of_the_dashboard_is_exported_and_every_figure_is_on_it(
    tmp_path: Path,
) -> None:
    known = exported(tmp_path)
    asked = {name for query in queries() for name in re.findall(r"popgate_\w+", query)}
    assert asked <= set(known)
    missed = {
        re.sub(r"_(?:bucket|count|sum)$", "", name) for name in known if name not in asked
    } - {re.sub(r"_(?:bucket|count|sum)$", "", name) for name in asked}
    assert missed == set()


def test_the_dashboard_groups_by_labels_that_there_are(tmp_path: Path) -> None:
    known = exported(tmp_path)
    for query in queries():
        for labels, name in re.findall(r"by \((\w+)\) \(rate\((popgate_\w+)", query):
            assert labels in known[name], query


def test_panels_of_the_dashboard_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at: dict[str, Any] = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_every_figure_is_documented(tmp_path: Path) -> None:
    text = DOCUMENT.read_text()
    for name in exported(tmp_path):
        assert re.sub(r"_(?:bucket|count|sum)$", "", name) in text, name


@contextmanager
def at_work(tmp_path: Path, postfix_config: Path, settings: str) -> Iterator[Popgate]:
    log = tmp_path / "mail.log"
    log.write_text("")
    made = Popgate(tmp_path / "popgate", log, postfix_config, settings)
    with made:
        with log.open("a") as file:
            for number in range(3):
                now = datetime.now(UTC) - timedelta(seconds=3 - number)
                file.write(login_line("203.0.113.5", session=f"s{number}", at=now))
        wait_for("the grant", lambda: "203.0.113.5" in made.command("list").stdout)
        yield made


def test_a_popgate_at_work_answers_on_loopback(tmp_path: Path, postfix_config: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with at_work(tmp_path, postfix_config, f'[metrics]\nlisten = "127.0.0.1:{port}"\n') as popgate:

        def read() -> dict[tuple[str, str], float]:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                text = answer.read().decode()
            assert "203.0.113.5" not in text
            assert "alice" not in text
            return {
                (sample.name, "".join(sample.labels.values())): sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }

        wait_for("the figures", lambda: read()["popgate_grants", ""] == 1)
        found = read()
        assert found["popgate_logins_total", "accepted"] == 3
        assert found["popgate_grant_changes_total", "added"] == 1
        assert found["popgate_failing", ""] == 0
        now = datetime.now(UTC).timestamp()
        for name in ("log_read", "table_written"):
            assert now - 120 < found[f"popgate_{name}_timestamp_seconds", ""] <= now
        popgate.command("revoke", "203.0.113.5")
        wait_for("its end", lambda: read()["popgate_grants", ""] == 0)


def test_a_textfile_is_for_node_exporter_to_read(tmp_path: Path, postfix_config: Path) -> None:
    file = tmp_path / "popgate.prom"
    with at_work(tmp_path, postfix_config, f'[metrics]\ntextfile = "{file}"\n'):
        wait_for("the file", lambda: file.exists() and "popgate_grants 1.0" in file.read_text())
        assert file.stat().st_mode & 0o777 == 0o644


def test_an_endpoint_that_is_not_on_loopback_is_refused(
    tmp_path: Path, postfix_config: Path
) -> None:
    site = Popgate(
        tmp_path / "popgate",
        tmp_path / "mail.log",
        postfix_config,
        '[metrics]\nlisten = "0.0.0.0:9154"\n',
    )
    done = site.command("config", "check")
    assert done.returncode == 2
    assert "metrics.listen" in done.stderr
    assert "loopback" in done.stderr


@pytest.mark.parametrize("times", [0, 1, 7])
def test_a_counter_counts(times: int) -> None:
    counter = Metrics().counter("logins", "Logins.", "outcome", ("accepted",))
    counter.add("accepted", times)
    assert counter.snapshot() == {"accepted": times}
