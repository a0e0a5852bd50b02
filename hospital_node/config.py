"""`<home>/config.toml`, read once into a frozen model: who this node is, whom it dials, and in which slot its answers leave.

`slot_ms` is the time between the Ready's departure, or the member set's arrival (`slots`), and the contribution's departure for a
table of `size_class` 20 (below 2^20 rows) or smaller; it doubles with every class above. It must be longer than any honest count
takes: an overrun sends zeros and pauses the node. `training_slot_ms`, where it is there, holds in place of it for a training's
steps (`slots`), `prepared_slot_ms` for a question whose months this node has ready (`asked_before`). `grid_ms` is the public grid
on which departures lie (25 in a demo, 250 in production).
"""

import json
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hospital_node.errors import InvalidConfig
from protocols.statements.base import IdentityUri, Label, Origin

CONFIG_FILE = "config.toml"
SMALL_CLASS = 20


class Settings(BaseModel):
    """Part of a file that people write: exact fields, exact types, nothing shown of a bad value."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Config(Settings):
    """Addresses and choices; no secret."""

    uri: IdentityUri
    origin: Origin
    coordinator: IdentityUri
    link_address: Label
    zone: Label = "Asia/Shanghai"
    slot_ms: int = Field(default=1000, ge=1, le=600_000)
    training_slot_ms: int | None = Field(default=None, ge=1, le=600_000)
    prepared_slot_ms: int | None = Field(default=None, ge=1, le=600_000)
    grid_ms: int = Field(default=250, ge=1, le=60_000)
    size_class: int = Field(default=SMALL_CLASS, ge=10, le=34)
    min_free_mb: int = Field(default=200, ge=1)
    legal_name: Label
    licence: Label

    @property
    def slot_of_tables_ms(self) -> int:
        return self._doubled(self.slot_ms)

    @property
    def slot_of_steps_ms(self) -> int:
        """Of one step of a training; as long as a table's where IT has stated none."""
        return self._doubled(self.slot_ms if self.training_slot_ms is None else self.training_slot_ms)

    @property
    def slot_of_prepared_ms(self) -> int:
        """Of a question that finds its months ready; never longer than of one that does not."""
        return self._doubled(min(self.slot_ms, self.slot_ms if self.prepared_slot_ms is None else self.prepared_slot_ms))

    def _doubled(self, slot_ms: int) -> int:
        return slot_ms << max(0, self.size_class - SMALL_CLASS)

    @classmethod
    def read(cls, home: Path) -> "Config":
        return read_toml(home / CONFIG_FILE, cls, "run `kapok-node init` first")

    def text(self) -> str:
        """The file; `read` gives it back."""
        lines = [f"{name} = {_toml(value)}" for name, value in self.model_dump(exclude_none=True).items()]
        return "# kapok-node: who this node is, whom it dials, and when its answers leave. See hospital_node/README.md.\n" + (
            "\n".join(lines) + "\n"
        )


Model = TypeVar("Model", bound=Settings)


def read_toml(path: Path, model: type[Model], remedy: str) -> Model:
    """The file as its model. Raises InvalidConfig with the first wrong field and what was expected there."""
    try:
        fields: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InvalidConfig(f"{path}: not there; {remedy}") from None
    except OSError as error:
        raise InvalidConfig(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{path}: not TOML: {error}") from None
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(each) for each in first["loc"]) or "file"
        raise InvalidConfig(f"{path}: {place}: {first['msg']}") from None


def _toml(value: object) -> str:
    # TOML's basic strings are JSON's but for a bare DEL, which no name holds.
    return json.dumps(value, ensure_ascii=False)
