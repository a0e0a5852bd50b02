"""A study trained over many virtual hospitals in Flower's Simulation Engine, beside the same training without noise."""
