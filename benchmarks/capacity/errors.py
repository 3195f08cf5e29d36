"""What can be wrong with a capacity question.

CapacityError
├── InvalidReport       service times that cannot be read
├── UnknownHardware     a kind of machine that the catalogue does not have
└── Infeasible          no number of machines reaches the target; the message says what would
"""


class CapacityError(Exception): ...


class InvalidReport(CapacityError): ...


class UnknownHardware(CapacityError): ...


class Infeasible(CapacityError): ...
