"""Texts in Chinese by their English: written where they are said, translated in one table, with `{}` for what varies."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Phrases:
    """A table of English to Chinese; what stands in it whole comes before what fits with something put in for `{}`."""

    table: Mapping[str, str]
    _patterns: list[tuple[re.Pattern[str], str]] = field(init=False, default_factory=list)

    def chinese(self, text: str) -> str:
        """The Chinese of a text; one that the table does not hold stands as it is."""
        if known := self.table.get(text):
            return known
        if not self._patterns:
            for english, chinese in self.table.items():
                self._patterns.append((re.compile("(.+)".join(map(re.escape, english.split("{}"))), re.DOTALL), chinese))
        found = next(((match, chinese) for pattern, chinese in self._patterns if (match := pattern.fullmatch(text))), None)
        return found[1].format(*found[0].groups()) if found else text
