"""Rounds of a fit on one hospital's records: exact, clipped integers, before any noise."""

from hospital_node.fits.logistic import newton_sums

__all__ = ["newton_sums"]
