"""Which studies this node can run: installed packages with an entry point `kapok.studies`, and the hashes that IT has accepted.

Rules
- A study is looked at without being imported: its hash is that of every file of its package, names and bytes.
- It runs where the question's name, version and hash are those of the installed package, and `studies.txt` lists the hash.
- Nothing of a study ever comes over the wire.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path

from hospital_node.approved import approved_text, read_approved
from hospital_node.studies.hashing import package_hash
from protocols.fits import Training
from protocols.refusal import Reason, Refusal

GROUP = "kapok.studies"
STUDIES_FILE = "studies.txt"
BUILT_IN = (
    EntryPoint("logistic", "hospital_node.studies.study:Logistic", GROUP),
    EntryPoint("torch-logistic", "hospital_node.learning.builtin:torch_logistic", GROUP),
    EntryPoint("mlp", "hospital_node.learning.builtin:mlp", GROUP),
)


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
    return read_approved(home / STUDIES_FILE, "a study's hash")


def pins_text(pins: Iterable[str], installed: Mapping[str, Installed]) -> str:
    """The file, with the names as they are installed now."""
    names = {each.sha256: f"{each.name} {each.version}" for each in installed.values()}
    head = "Studies that may run here: the hash of each package, as `kapok-node studies` shows it."
    return approved_text(head, ((pin, names.get(pin, "not installed now")) for pin in pins))


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
