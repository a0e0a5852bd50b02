"""Flower's strategies over secure sums, in a process of their own. The only room of the coordinator that knows Flower."""
