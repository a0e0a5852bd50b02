"""A virtual environment for each peer: made once under build/bench, its packages pinned, never mixed with ours."""

import subprocess
import sys
from pathlib import Path
from typing import Final

PLACE: Final = Path("build/bench")
PACKAGES: Final = {
    "opendp": ("opendp[polars]==0.16.0", "polars==1.36.1", "numpy==2.4.6"),
    "smartnoise": ("smartnoise-sql==1.0.10", "opendp==0.14.2", "pandas==2.3.3", "sqlalchemy==2.1.9", "numpy==2.4.6"),
}


class CannotInstall(Exception):
    """A peer's environment could not be made; the message says by which step."""


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment, made now if it is not there. Raises CannotInstall."""
    place = PLACE / f"env-{peer}"
    python, done = place / "bin" / "python", place / "installed"
    pins = "\n".join(PACKAGES[peer]) + "\n"
    if not done.is_file() or done.read_text() != pins:
        _run(f"no environment for {peer}", sys.executable, "-m", "venv", "--clear", str(place))
        install = ("-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES[peer])
        _run(f"{', '.join(PACKAGES[peer])} cannot be installed", str(python), *install)
        done.write_text(pins)
    return python


def _run(trouble: str, *command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotInstall(trouble) from error
