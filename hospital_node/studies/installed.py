"""Which studies this node can run: installed packages with an entry point `kapok.studies`, and the hashes that IT has accepted.

Rules
- A study is looked at without being imported: its hash is that of every file of its package, names and bytes.
- It runs where the question's name, version and hash are those of the installed package, and `studies.txt` lists the hash.
- Nothing of a study ever comes over the wire.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path

from hospital_node.errors import InvalidConfig
from hospital_node.studies.hashing import package_hash
from protocols.fits import Training
from protocols.refusal import Reason, Refusal

GROUP = "kapok.studies"
STUDIES_FILE = "studies.txt"
BUILT_IN = (
    EntryPoint("logistic", "hospital_node.studies.study:Logistic", GROUP),
    EntryPoint("torch-logistic", "hospital_node.learning.builtin:TorchLogistic", GROUP),
    EntryPoint("mlp", "hospital_node.learning.builtin:Mlp", GROUP),
)
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Installed:
    """One study on this machine. `target` is what its process imports, as `module:attribute`."""

    name: str
    version: str
    sha256: str
    target: str


def installed_studies(found: Iterable[EntryPoint] | None = None) -> dict[str, Installed]:
    """By name. One whose files cannot be found is left out: it could not run either."""
    points = [*BUILT_IN, *(entry_points(group=GROUP) if found is None else found)]
    read = ((each, package_hash(each.module)) for each in points)
    return {each.name: Installed(each.name, _version(each), digest, each.value) for each, digest in read if digest is not None}


def _version(point: EntryPoint) -> str:
    """Of the package that holds it; those that come with the node carry the node's."""
    return point.dist.version if point.dist is not None else version("kapok")


def read_pins(home: Path) -> frozenset[str]:
    """The accepted hashes; no file is no study. Raises InvalidConfig with the line."""
    path = home / STUDIES_FILE
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return frozenset()
    words = [(number, line.split("#")[0].strip()) for number, line in enumerate(lines, start=1)]
    for number, word in words:
        if word and _HASH.fullmatch(word) is None:
            raise InvalidConfig(f"{path}: line {number}: expected a study's hash of 64 hex digits")
    return frozenset(word for _, word in words if word)


def pins_text(pins: Iterable[str], installed: Mapping[str, Installed]) -> str:
    """The file; the name is a comment that nothing trusts."""
    names = {each.sha256: f"{each.name} {each.version}" for each in installed.values()}
    head = "# Studies that may run here: the hash of each package, as `kapok-node studies` shows it.\n"
    return head + "".join(f"{pin}  # {names.get(pin, 'not installed now')}\n" for pin in sorted(pins))


def study_refusals(spec: Training, installed: Mapping[str, Installed], pins: frozenset[str]) -> list[Refusal]:
    """Why the question's study does not run here; an empty list is consent. Reads no record."""
    named, here = spec.study, installed.get(spec.study.name)
    if here is None:
        return [Refusal(Reason.STUDY_NOT_INSTALLED, "a study installed here", "none", named.name)]
    found = []
    if (here.version, here.sha256) != (named.version, named.sha256):
        found.append(Refusal(Reason.STUDY_DIFFERS, f"{here.version} {here.sha256}", f"{named.version} {named.sha256}", named.name))
    if named.sha256 not in pins:
        found.append(Refusal(Reason.STUDY_NOT_PINNED, "a hash in studies.txt", named.sha256, named.name))
    return found
