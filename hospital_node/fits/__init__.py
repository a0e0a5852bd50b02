"""Rounds of a fit on one hospital's records: exact, clipped integers, before any noise."""

from hospital_node.fits.logistic import newton_sums
from hospital_node.fits.sums import fit_sums

__all__ = ["fit_sums", "newton_sums"]
