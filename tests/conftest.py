"""What holds for every test of the house."""

from hypothesis import settings

# A property is true or false however busy the machine is; how fast it is, a benchmark says.
settings.register_profile("kapok", deadline=None)
settings.load_profile("kapok")
