"""What can be wrong with a capacity question.

CapacityError
├── InvalidReport       service times that cannot be read
├── UnknownHardware     a kind of machine that the catalogue does not have
└── Infeasible          no number of machines reaches the target; the message says what would
"""


class CapacityError(Exception):
    """Base of them all; the message is for people."""


class InvalidReport(CapacityError):
    """Service times that cannot be read."""


class UnknownHardware(CapacityError):
    """A kind of machine that the catalogue does not have."""


class Infeasible(CapacityError):
    """No number of machines reaches the target."""
