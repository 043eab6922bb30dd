"""Tests of deploy/ run in virtual environments that ./run makes: .venv-deploy for all, .venv-checkov for
`./run test --full`. Where one is not there, a test says so and is skipped."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"
SKIPPED = 77  # as ctest knows it


def enter(name, *modules):
    """Goes on in the environment `name`, if it isn't this one already and `modules` are not here."""
    try:
        for module in modules:
            __import__(module)
        return
    except ImportError as missing:
        reason = missing
    python = ROOT / name / "bin/python"
    if python.exists() and Path(sys.prefix) != ROOT / name:
        os.execv(python, [str(python), *sys.argv])
    print(f"skipped: {reason} (./run test makes {name})")
    sys.exit(SKIPPED)
