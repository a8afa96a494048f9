"""The house's style: ruff over everything, transformers' model linter over the models."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# TRF028: Hugging Face's own licence header. TRF038, TRF057: documentation that only their repository's tools build.
NOT_OURS = {"TRF028", "TRF038", "TRF057"}


def test_ruff_finds_nothing() -> None:
    folders = [name for name in ("iec_hub", "tests", "training", "benchmarks", "app.py") if (ROOT / name).exists()]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_models_follow_the_rules_of_transformers(tmp_path: Path) -> None:
    report = tmp_path / "findings.json"
    command = [sys.executable, "-m", "mlinter", "--no-progress", "--no-cache", "--output-json", report]
    done = subprocess.run([*command, ROOT / "iec_hub" / "models"], capture_output=True, text=True, check=False)
    assert report.exists(), done.stdout + done.stderr
    findings = json.loads(report.read_text(encoding="utf-8"))["findings"]
    ours = [finding for finding in findings if finding["rule"] not in NOT_OURS]
    assert not ours, json.dumps(ours, indent=1)
