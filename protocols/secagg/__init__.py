"""Secure aggregation with two layers of masks: pairwise masks among hospitals, and a seed sealed to the auditor."""
