"""How many weights a study's model has over so many features: asked in a process of its own, as all of a study is.

python -m hospital_node.studies.size package.module:Study 12
"""

import importlib
import os
import subprocess
import sys

from hospital_node.errors import StudyFailed
from hospital_node.studies.process import built

PROGRAM = "hospital_node.studies.size"
PATIENCE_S = 120


def size_of(target: str, features: int) -> int:
    """Raises StudyFailed for a study that cannot be built so."""
    command = [sys.executable, "-m", PROGRAM, target, str(features)]
    try:
        said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S, check=False).stdout
        return int(said)
    except (ValueError, subprocess.TimeoutExpired):
        raise StudyFailed("study: its model cannot be built") from None


def main() -> None:
    """What a study prints does not get between."""
    out = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    module, _, name = sys.argv[1].partition(":")
    size = built(getattr(importlib.import_module(module), name)).prepare(int(sys.argv[2]))
    os.write(out, str(size).encode())


if __name__ == "__main__":
    main()
