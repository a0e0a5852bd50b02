"""Counting a resident of several hospitals once: a blind OR over hospitals. Protocol and proof: `privacy/DISTINCT.md`."""

from protocols.union.buckets import BucketKey, Shape, filled, place_of
from protocols.union.question import asks_for_residents
from protocols.union.resident import MalformedResidentNumber, ResidentKey, normal_form
from protocols.union.zero_test import BadCiphertext, Counter, blinded

__all__ = [
    "BadCiphertext",
    "BucketKey",
    "Counter",
    "MalformedResidentNumber",
    "ResidentKey",
    "Shape",
    "asks_for_residents",
    "blinded",
    "filled",
    "normal_form",
    "place_of",
]
