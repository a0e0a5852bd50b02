"""A party's home folder: its keys, its certificate, the trust file it pins, and its channel to the others."""
