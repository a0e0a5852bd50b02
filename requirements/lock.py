"""Writes the two hashed locks from pyproject.toml: `requirements.lock` (what a hospital installs) and `requirements-dev.lock`.

The first is a subset of the second, at the same versions. torch is left out, since its hash differs by build (the Makefile
installs it beside the lock); what torch itself needs is named here, so that it is hashed too.
Usage: python requirements/lock.py PATH_TO_UV
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

BUILD = ["hatchling>=1.27", "editables>=0.5"]
TORCH_NEEDS = ["filelock", "fsspec", "jinja2", "networkx", "setuptools", "sympy", "typing-extensions"]
HERE = Path(__file__).parent
_NEVER = re.compile(r"(?m)^torch==.*sys_platform == 'never'.*\n(?:    --hash=.*\n)*")


def compile_lock(uv: str, wants: list[str], pins: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, override = Path(folder, "wants.in"), Path(folder, "override.in")
        source.write_text("\n".join(wants) + "\n")
        override.write_text("torch ; sys_platform == 'never'\n")
        command = [uv, "pip", "compile", "-q", "--universal", "--python-version", "3.11", "--generate-hashes"]
        command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
        command += ["--override", str(override), "-c", str(pins), str(source), "-o", str(target)]
        subprocess.run(command, check=True)
    target.write_text(_NEVER.sub("", target.read_text()))  # some versions of uv write what the override leaves out


def main(uv: str) -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    learning = [want for want in extras["learning"] if not want.startswith("torch")]
    everything = project["dependencies"] + BUILD + extras["dev"] + learning + TORCH_NEEDS
    compile_lock(uv, everything, HERE / "pins.txt", Path("requirements-dev.lock"))
    compile_lock(uv, project["dependencies"] + BUILD, Path("requirements-dev.lock"), Path("requirements.lock"))


if __name__ == "__main__":
    main(*sys.argv[1:])
