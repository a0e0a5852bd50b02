"""Other libraries doing the same count, each in a process and an environment of its own."""
