"""No test of the project is timed: how long an example takes is the machine's affair."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
