"""The coordinator of a city: register, admission, rounds, release and doors. Trusted with availability, not with privacy."""
