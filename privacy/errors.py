"""What can be wrong with an argument of this package: one root, a stable `code` on each class.

A legitimate no (the budget is spent) is not an error; see `privacy.filter.Overspend`.
"""


class PrivacyError(ValueError):
    """Root of this package's errors; bad input, never a statement about records."""

    code = "privacy.error"


class InvalidVariance(PrivacyError):
    """A noise variance that no table is built for."""

    code = "privacy.variance"


class InvalidSensitivity(PrivacyError):
    """Bounds that are not those of a clamped contribution."""

    code = "privacy.sensitivity"


class InvalidPrice(PrivacyError):
    """An order, charge, epsilon or delta outside the domain of the bound."""

    code = "privacy.price"


class MalformedCharge(PrivacyError):
    """Text that is not the one spelling of a charge."""

    code = "privacy.charge_spelling"


class InvalidFootprint(PrivacyError):
    """A spend that names no block, or a purpose without a name."""

    code = "privacy.footprint"


class InvalidLevel(PrivacyError):
    """A confidence level outside (0, 1), or one that the table is too coarse for."""

    code = "privacy.level"
