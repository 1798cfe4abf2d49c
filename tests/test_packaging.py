"""What a wheel carries: code, formats and templates, and nothing of the lab."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

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
