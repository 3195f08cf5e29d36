"""Tables in Markdown."""

from benchmarks import markdown


def test_a_table_aligns_figures_to_the_right():
    assert markdown.table(["name", "ms"], [["a|b", 1], ["c", None]]).splitlines() == [
        "| name | ms |",
        "| --- | --: |",
        "| a\\|b | 1 |",
        "| c | – |",
    ]


def test_numbers():
    assert markdown.number(1234.56) == "1,234.6"
    assert markdown.number(None) == markdown.number(float("nan")) == "–"
    assert markdown.kilobytes(1500) == "1.5"
