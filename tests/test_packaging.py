"""What a wheel carries, and what `make install` puts where."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_wheel_has_formats_and_templates_and_works_by_itself(tmp_path: Path) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--quiet",
            "--disable-pip-version-check",
            "wheel",
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            tmp_path,
            ROOT,
        ],
        check=True,
    )
    (wheel,) = tmp_path.glob("popgate-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        packed.extractall(tmp_path / "installed")
    for template in (ROOT / "templates").iterdir():
        assert f"tracker/templates/{template.name}" in names
    assert "tracker/reading/formats/dovecot.toml" in names
    assert not [name for name in names if name.startswith(("lab/", "tests/", "bench/"))]

    config = tmp_path / "popgate.toml"
    config.write_text('[postfix]\ntable = "cidr"\n')
    done = subprocess.run(
        [sys.executable, "-m", "tracker", "render", "--out", tmp_path / "out", "--config", config],
        cwd=tmp_path / "installed",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "smtpd_relay_restrictions" in (tmp_path / "out/main.cf.snippet").read_text()


def test_the_lock_pins_every_dependency_by_hash() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = dict(
        re.findall(r"^([a-z0-9-]+)==\S+ \\\n((?:    --hash=sha256:\S+.*\n)+)", lock, re.M)
    )
    assert len(pinned) == len(re.findall(r"^[a-z]", lock, re.M)), "a line without a hash"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {re.split("[>=<]", one)[0] for one in project["dependencies"]} <= pinned.keys()
    for script in ("build-deb", "install"):
        assert "--require-hashes" in (ROOT / "packaging" / script).read_text(encoding="utf-8")


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment of an installation below a folder."""
    places = {"DESTDIR": str(tmp_path / "root"), "PREFIX": "/opt/popgate", "PYTHON": sys.executable}
    subprocess.run([ROOT / "packaging/install"], check=True, env={**os.environ, **places})
    return {**os.environ, **places}


def test_make_install_and_uninstall_below_a_folder(
    installed: dict[str, str], tmp_path: Path
) -> None:
    root = tmp_path / "root"
    assert (root / "usr/local/bin/popgate").readlink() == Path("/opt/popgate/bin/popgate")
    script = (root / "opt/popgate/bin/popgate").read_text()
    assert "/opt/popgate/bin/python" in script
    assert str(tmp_path) not in script
    units = root / "usr/local/lib/systemd/system"
    assert {unit.name for unit in units.iterdir()} == {
        unit.name for unit in (ROOT / "systemd").iterdir() if unit.name.count(".service")
    } | {"popgate-expire.timer", "popgate-reload.path"}
    assert "ExecStart=/opt/popgate/bin/popgate run\n" in (units / "popgate.service").read_text()
    assert "/usr/bin/popgate" not in "".join(unit.read_text() for unit in units.iterdir())
    for name in ("sysusers.d", "tmpfiles.d"):
        assert (root / "usr/local/lib" / name / "popgate.conf").exists()
    for page in ("man8/popgate.8", "man5/popgate.toml.5"):
        assert (root / "usr/local/share/man" / page).read_text().startswith(".TH POPGATE")
    done = subprocess.run(
        [root / "opt/popgate/bin/python", "-m", "tracker", "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.startswith("popgate, version")

    subprocess.run([ROOT / "packaging/uninstall"], check=True, env=installed)
    assert not [file for file in root.rglob("*") if not file.is_dir()]
