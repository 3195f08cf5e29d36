"""Times, rates and prices as people write them."""

import pytest
from typer import BadParameter

from benchmarks.capacity.__main__ import Price, duration_s, price, rate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300ms", 0.3), ("1.5s", 1.5), ("250us", 250e-6), (" 2 min ", 120), (".5S", 0.5)],
)
def test_a_time_has_a_unit(text, seconds):
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["300", "", "ms", "-3ms", "0ms", "3 m", "1e3ms", "nan s", "3h"])
def test_other_times_are_refused(text):
    with pytest.raises(BadParameter, match="expected a time"):
        duration_s(text)


@pytest.mark.parametrize(("text", "value"), [("500", 500), ("0.5", 0.5), ("20/s", 20)])
def test_a_rate_is_a_number(text, value):
    assert rate(text) == value


@pytest.mark.parametrize("text", ["", "-1", "0", "inf", "nan", "many"])
def test_other_rates_are_refused(text):
    with pytest.raises(BadParameter, match="rate of requests"):
        rate(text)


def test_a_price_names_its_kind():
    assert price("H100 SXM=3.78") == Price("H100 SXM", 3.78)


@pytest.mark.parametrize("text", ["3.78", "=3", "L4=", "L4=-1", "L4=free"])
def test_other_prices_are_refused(text):
    with pytest.raises(BadParameter, match="expected"):
        price(text)
