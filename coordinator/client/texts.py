"""Every sentence the bureau reads, in Chinese and English, by message id; nothing else in this package words anything.

`Say` is one reader's language. Codes of refusals and query problems have sentences too; a code without one is shown as it is,
since a newer coordinator may know more rules than this program.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from coordinator.client.sentences import SENTENCES
from protocols.query import Language
from protocols.query.domains import DISTRICTS, SEXES, VISIT_CLASSES

NAMED: dict[str, dict[str, tuple[str, str]]] = {"district": DISTRICTS, "sex": SEXES, "visit_class": VISIT_CLASSES}


@dataclass(frozen=True, slots=True)
class Say:
    """Words for one reader."""

    lang: Language

    def __call__(self, text_id: str, **values: object) -> str:
        return self._of(SENTENCES[text_id]).format(**values)

    def code(self, prefix: str, code: str) -> str:
        """The sentence of a code that came over the wire, or the code itself."""
        found = SENTENCES.get(f"{prefix}.{code}")
        return self._of(found) if found else code

    def fact(self, fact: str) -> str:
        """What a refusal expected or got."""
        if self.lang is Language.EN:
            return fact
        from protocols.refusal_words import fact_in_chinese

        return fact_in_chinese(fact)

    def outside(self, text: object) -> str:
        """What the system, a parser or a library says is wrong."""
        if self.lang is Language.EN:
            return str(text)
        from protocols.outside import outside_in_chinese

        return outside_in_chinese(str(text))

    def label(self, key: str, label: str) -> str:
        """What a cell's label is called: districts and sexes by name, everything else as it stands."""
        names = NAMED.get(key, {}).get(label)
        return self._of(names) if names else label

    def _of(self, pair: tuple[str, str]) -> str:
        return pair[0] if self.lang is Language.ZH else pair[1]


ENGLISH = Say(Language.EN)


def language(flag: str | None, environ: Mapping[str, str]) -> Language:
    """`--lang` if given, else what LC_ALL, LC_MESSAGES or LANG says; English when they say nothing of Chinese."""
    wanted = flag or next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    return Language.ZH if wanted.lower().startswith("zh") else Language.EN
