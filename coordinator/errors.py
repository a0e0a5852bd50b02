"""The root of the coordinator's errors; `code` is the metric label, the API field and the translation key."""


class CoordinatorError(Exception):
    """Something the operator or a caller has to mend."""

    code = "coordinator"


class NotFounded(CoordinatorError):
    """The log has no entry 0 yet: the auditor has to countersign the draft."""

    code = "coordinator.not_founded"


class AuditorAway(CoordinatorError):
    """The auditor's service does not answer; nothing can be cosigned or opened without it."""

    code = "coordinator.auditor_away"


class NotKeptYet(CoordinatorError):
    """A crash came between a release's entry and its answer's row, and the answer cannot be composed now."""

    code = "coordinator.not_kept_yet"


class NeedsSingleUpdates(CoordinatorError):
    """A strategy that compares single hospitals' updates, of which a secure sum shows none."""

    code = "coordinator.needs_single_updates"


class UnsuitableMessages(CoordinatorError):
    """A strategy asks otherwise than a secure sum can answer: not everybody, or not everybody alike."""

    code = "coordinator.unsuitable_messages"


class StrategyFailed(CoordinatorError):
    """A strategy's process cannot start or ended; says nothing of what it wrote."""

    code = "coordinator.strategy"
