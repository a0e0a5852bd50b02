"""Studies that are installed here: found by their entry points, known by their hash, run in a process of their own."""
