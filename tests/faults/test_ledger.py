"""All faults are judged by the account, so it must see what goes wrong."""

import pytest
from fovea_client import InvalidImage, Overloaded, ServerError, Unavailable

from tests.faults.ledger import Ledger
from tests.faults.report import broken, nothing_lost


def failing(error):
    def call(number):
        raise error

    return call


def test_every_fate_is_counted_once():
    ledger = Ledger()
    assert ledger.ask(lambda number: True)
    assert ledger.ask(lambda number: False)
    assert not ledger.ask(failing(Overloaded("full")))
    assert not ledger.ask(failing(InvalidImage("no picture")))
    assert not ledger.ask(failing(ServerError("broken")))
    assert not ledger.ask(failing(Unavailable("Stub process 'a' is not healthy.")))
    ledger.send()
    twice = ledger.send()
    ledger.answer(twice)
    ledger.answer(twice)
    account = ledger.account()
    assert (account.sent, account.answered, account.refused, account.lost) == (8, 3, 2, 3)
    assert (account.duplicated, account.wrong) == (1, 1)
    assert account.refusals == {"Overloaded": 1, "InvalidImage: no picture": 1}
    assert account.losses["no answer"] == 1
    assert len(broken(nothing_lost(account))) == 3


def test_a_number_is_sent_once():
    ledger = Ledger()
    ledger.send(5)
    with pytest.raises(ValueError, match="request 5 was sent before"):
        ledger.send(5)
