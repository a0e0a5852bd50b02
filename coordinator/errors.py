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
