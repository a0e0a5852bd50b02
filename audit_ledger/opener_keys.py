"""The monthly sealing keys: made when first asked for, kept as 0600 files of the home, destroyed when the month's windows are over.

A file is removed, not scrubbed: on a journalling or flash file system only an encrypted volume makes that final.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from audit_ledger.errors import Unavailable
from audit_ledger.party.home import Home
from protocols.clock import month, unix
from protocols.contract import CONTRACT
from protocols.secagg.sealing import SealingKey


class NoSealingKey(Unavailable):
    """A month that is not the current one, and whose key does not exist (any more)."""

    code = "opener.no_sealing_key"


@dataclass(frozen=True, slots=True)
class SealingKeys:
    """The sealing keys in `home`."""

    home: Home

    def find(self, month_: str) -> SealingKey | None:
        name = f"sealing/{month_}.key"
        return SealingKey.from_bytes(self.home.secret(name, 32), month_) if self.home.has(name) else None

    def current(self, month_: str, now: int) -> SealingKey:
        """The month's key, made if it is this month's. Raises NoSealingKey."""
        found = self.find(month_)
        if found is not None:
            return found
        if month_ != month(now):
            raise NoSealingKey(f"sealing key of {month_}: only this month's is made, {month(now)}")
        made = SealingKey.generate(month_)
        self.home.write_secret(f"sealing/{month_}.key", made.secret())
        return made

    def months(self) -> list[str]:
        return sorted(each.stem for each in (self.home.path / "sealing").glob("*.key"))

    def destroy_over(self, latest_windows: dict[str, int], now: int) -> list[str]:
        """Removes keys whose month is over and whose last window (`latest_windows`, by month) closed 60 s ago."""
        over = [each for each in self.months() if now > self._last_use(each, latest_windows) + CONTRACT.clock_tolerance_s]
        for each in over:
            (self.home.path / "sealing" / f"{each}.key").unlink()
        return over

    def _last_use(self, month_: str, latest_windows: dict[str, int]) -> int:
        return max(_end_of(month_) + CONTRACT.window_s, latest_windows.get(month_, 0))


def _end_of(month_: str) -> int:
    first = datetime.fromtimestamp(unix(f"{month_}-01T00:00:00Z"), UTC)
    following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return int(following.timestamp())
