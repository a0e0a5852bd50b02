"""Where the bureau's city is: `config.toml` in its home, written once by `init`. Nothing secret."""

import json
from dataclasses import asdict, dataclass, fields

from audit_ledger.party.home import Home, HomeError


@dataclass(frozen=True, slots=True)
class Settings:
    """Addresses and names. `uri` is the bureau's own identity."""

    uri: str
    origin: str
    coordinator_uri: str
    coordinator_address: str

    @classmethod
    def read(cls, home: Home) -> "Settings":
        stored = home.config()
        names = [each.name for each in fields(cls)]
        missing = [name for name in names if not isinstance(stored.get(name), str)]
        if missing:
            raise HomeError(f"{home.path / 'config.toml'}: expected text for {', '.join(missing)}; run `kapok init` first")
        return cls(**{name: stored[name] for name in names})

    def write(self, home: Home) -> None:
        # A JSON string is a TOML basic string as well.
        lines = [f"{name} = {json.dumps(value)}" for name, value in asdict(self).items()]
        home.write("config.toml", "\n".join([*lines, ""]).encode())
