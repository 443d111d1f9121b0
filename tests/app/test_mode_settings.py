"""The mode table as settings: every cell of it, and no table that is looser where it should be safer."""

from __future__ import annotations

import pytest

from jurymast.app.config import Config
from jurymast.app.settings import describe, load_settings
from jurymast.domain.errors import ConfigError
from jurymast.domain.money import CENT, CONTRACT
from jurymast.domain.status import EmergencyMode
from jurymast.policy.emergency import COLUMNS, TABLE


def load(text: str) -> Config:
    return load_settings(Config, text, source="bot.toml", environ={})


def test_the_defaults_are_the_table_and_every_cell_is_a_setting() -> None:
    """Six rows of every column, in the units of people, and back without loss."""
    assert load("").table == TABLE
    rows = [row.path for row in describe(Config()) if row.path.startswith("modes.")]
    assert len(rows) == len(EmergencyMode) * len(COLUMNS)
    assert "modes.conservative.min_edge_cents" in rows


def test_a_cell_of_the_file_is_the_one_that_counts() -> None:
    """What a row leaves out keeps its default."""
    text = "[modes.conservative]\nmin_edge_cents = 4.5\ndepth_min = 200\nsize_multiple = 0.3\n"
    row = load(text).table[EmergencyMode.CONSERVATIVE]
    assert (row.min_edge, row.depth_min, row.size_multiple) == (45 * CENT // 10, 200 * CONTRACT, 0.3)
    assert row.market_cap_bp == TABLE[EmergencyMode.CONSERVATIVE].market_cap_bp


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[modes.conservative]\nsize_multiple = 2.0",
            "modes.conservative.size_multiple is 2.0, looser than modes.normal.size_multiple with 1.0",
        ),
        (
            "[modes.normal]\nmin_edge_cents = 6.0",
            "modes.conservative.min_edge_cents is 4.0, looser than modes.normal.min_edge_cents with 6.0",
        ),
        (
            '[modes.cached]\nentry_order = "limit"',
            "modes.cached.entry_order is limit, looser than modes.conservative.entry_order with post_only",
        ),
        (
            '[modes.killed]\nexits = "rules"',
            "modes.killed.exits is rules, looser than modes.suspended.exits with hard_cap",
        ),
        ("[modes.minimal]\nentries = true", "modes.minimal.entries is true: without judgement"),
        ("[modes.frantic]\nentries = true", "should be one of normal, conservative, cached, minimal"),
    ],
)
def test_a_bad_table_is_refused_with_both_cells_and_their_values(text: str, said: str) -> None:
    """Nothing starts on a table in which a safer mode may do more."""
    with pytest.raises(ConfigError, match="nothing was started") as caught:
        load(text)
    assert said in str(caught.value)
