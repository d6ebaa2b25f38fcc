"""The chart's README is fresh; comments of values are found above them and behind them."""

from __future__ import annotations

from support.chart_readme import README, Value, page, sections

TEXT = """\
# Above.
name: "" # behind
# A section
# of two lines.
part:
  # Above,
  # in two lines.
  plain: 1 # behind
  flow: {a: b} # "#" is not in the text

  # Not directly above.

  none: []
  nested:
    deep: true
  # - commented example
last: x
"""


def test_the_page_is_fresh() -> None:
    assert README.read_text() == page(), "run `make chart`"


def test_comments_become_meanings() -> None:
    general, part = sections(TEXT)
    assert general.values == [
        Value("name", '""', "Above. Behind"),
        Value("last", '"x"', ""),
    ]
    assert (part.name, part.meaning) == ("part", "A section of two lines.")
    assert part.values == [
        Value("part.plain", "1", "Above, in two lines. Behind"),
        Value("part.flow", '{"a": "b"}', '"#" is not in the text'),
        Value("part.none", "[]", ""),
        Value("part.nested.deep", "true", ""),
    ]
