"""The coordinator's `config.toml`: addresses and deadlines, no secrets."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from audit_ledger.party.home import Home
from coordinator.errors import CoordinatorError


class BadConfig(CoordinatorError):
    """A setting is missing, misspelt or of the wrong kind; the message names it."""

    code = "config"


@dataclass(frozen=True, slots=True)
class Timing:
    """Deadlines of a round, in seconds. `return_s` after the coordinator's start nobody counts as gone: hospitals back off.

    `study_s` stands for `ready_s` where a hospital starts a study before its Ready: its model's library takes seconds to load.
    """

    ready_s: float = 15.0
    straggler_s: float = 1.0
    contribution_s: float = 60.0
    vanished_s: float = 4.0
    return_s: float = 30.0
    study_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Config:
    """Written by `init`, edited by the operator. `http_listen` is where the log is served over HTTP; "" is nowhere."""

    uri: str
    origin: str
    log_vkey: str
    link_listen: str
    enrol_listen: str
    opener_address: str
    witness_url: str
    http_listen: str = ""
    timing: Timing = field(default_factory=Timing)

    @classmethod
    def read(cls, home: Home) -> Self:
        """Raises HomeError, BadConfig."""
        raw = home.config()
        timing = raw.pop("timing", {})
        known = set(cls.__dataclass_fields__) - {"timing"}
        raw.setdefault("http_listen", "")  # a file of before the door was there
        if (wrong := set(raw) ^ known) or not all(isinstance(value, str) for value in raw.values()):
            raise BadConfig(f"{home.path / 'config.toml'}: check {', '.join(sorted(wrong)) or 'the values: all are texts'}")
        if not raw["witness_url"].startswith(("http://", "https://")):
            raise BadConfig(f"{home.path / 'config.toml'}, witness_url: expected http:// or https://, got {raw['witness_url']}")
        return cls(**raw, timing=_timing(timing, home.path / "config.toml"))

    def encode(self) -> bytes:
        names = [name for name in self.__dataclass_fields__ if name != "timing"]
        lines = [f'{name} = "{getattr(self, name)}"' for name in names]
        text = "\n".join(["# Kapok coordinator. Addresses are host:port.", *lines, "", "[timing]"])
        timing = "\n".join(f"{name} = {getattr(self.timing, name)}" for name in Timing.__dataclass_fields__)
        parsed = tomllib.loads(f"{text}\n{timing}\n")
        assert parsed["uri"] == self.uri
        return f"{text}\n{timing}\n".encode()


def _timing(given: object, path: Path) -> Timing:
    if not isinstance(given, dict) or (set(given) - set(Timing.__dataclass_fields__)):
        raise BadConfig(f"{path}, [timing]: expected {', '.join(Timing.__dataclass_fields__)}")
    for name, value in given.items():
        if type(value) not in (int, float) or not value > 0:
            raise BadConfig(f"{path}, [timing]: {name}: expected seconds above 0, got {value!r}")
    return Timing(**{name: float(value) for name, value in given.items()})
