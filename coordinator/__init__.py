"""The coordinator of a city: register, admission, rounds, release, and the doors. It is trusted with availability, not with privacy."""
