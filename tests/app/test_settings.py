"""From TOML and the environment to frozen dataclasses."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import pytest

from jurymast.app.settings import REQUIRED, SECRET_BYTES_MAX, bounded, describe, documented, load_settings
from jurymast.domain.errors import ConfigError
from jurymast.domain.provider import Secret


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Sail:
    area_m2: float = bounded(10.0, low=0.5, high=500.0, unit="m2", doc="canvas set")
    reefs: int = bounded(0, low=0, high=3, unit="", doc="reefs taken in")


NO_KEY = Secret()
SAILS = {"main": Sail(40.0), "jib": Sail(25.0)}


@dataclass(frozen=True, slots=True)
class Mast:
    height_m: float
    sails: dict[str, Sail] = documented(SAILS, doc="by name")

    def __post_init__(self) -> None:
        if not self.sails:
            raise ValueError("a mast without sails moves nothing")


@dataclass(frozen=True, slots=True)
class Ship:
    name: str = documented(REQUIRED, doc="as painted on the stern")
    mast: Mast = Mast(height_m=12.0)
    jury: Mast = Mast(height_m=5.0, sails={"jury": Sail(6.0, reefs=1)})
    crew: tuple[str, ...] = ()
    depths_m: tuple[float, ...] = ()
    colour: Colour = Colour.RED
    insured: bool = False
    launched: datetime | None = None
    key: Secret = NO_KEY
    berths: dict[Colour, Sail] = field(default_factory=dict)


def load(text: str, environ: Mapping[str, str] | None = None) -> Ship:
    return load_settings(Ship, textwrap.dedent(text), source="ship.toml", environ=environ or {})


def mistakes(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(text, environ)
    headline, *rows = str(refused.value).splitlines()
    number = "1 mistake" if len(rows) == 1 else f"{len(rows)} mistakes"
    assert headline == f"{number} in the settings, nothing was started:"
    return [row.strip() for row in rows]


def test_every_type_is_read() -> None:
    """Texts, numbers, truths, choices, times, lists and tables all arrive as what the class says."""
    ship = load("""
        name = "Pinta"
        crew = ["Ann", "Bo"]
        depths_m = [1, 2.5]
        colour = "blue"
        insured = true
        launched = 2026-01-05T14:00:00+02:00
        [mast]
        height_m = 20
        [berths.red]
        reefs = 2
    """)
    assert ship == Ship(
        name="Pinta",
        crew=("Ann", "Bo"),
        depths_m=(1.0, 2.5),
        colour=Colour.BLUE,
        insured=True,
        launched=datetime(2026, 1, 5, 12, 0, tzinfo=UTC),
        mast=Mast(height_m=20.0),
        berths={Colour.RED: Sail(reefs=2)},
    )
    assert type(ship.mast.height_m) is float
    assert ship.launched is not None
    assert ship.launched.tzinfo is UTC


def test_what_is_left_out_keeps_its_default() -> None:
    """A table given in part changes only what it says, also inside a default of its own."""
    ship = load("""
        name = "Pinta"
        [jury.sails.jury]
        area_m2 = 7.0
        [mast.sails.storm]
        area_m2 = 3.0
    """)
    assert ship.jury == Mast(height_m=5.0, sails={"jury": Sail(7.0, reefs=1)})
    assert ship.mast.sails == {"main": Sail(40.0), "jib": Sail(25.0), "storm": Sail(3.0)}
    assert load('name = "Nina"').mast == Mast(height_m=12.0)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("JURYMAST_MAST__HEIGHT_M", "21.5", lambda ship: ship.mast.height_m == 21.5),
        ("JURYMAST_MAST__SAILS__MAIN__REEFS", "3", lambda ship: ship.mast.sails["main"] == Sail(41.0, 3)),
        ("JURYMAST_MAST__SAILS__STORM__AREA_M2", "2", lambda ship: ship.mast.sails["storm"] == Sail(2.0)),
        ("JURYMAST_MAST__HEIGHT_M", "22", lambda ship: ship.mast.height_m == 22.0),
    ],
)
def test_the_environment_overrides_the_file(variable: str, value: str, expected: object) -> None:
    """A variable named after section and key wins over the file, however deep, and leaves the rest."""
    ship = load(
        'name = "Pinta"\n[mast]\nheight_m = 20.0\n[mast.sails.main]\narea_m2 = 41.0', {variable: value}
    )
    assert callable(expected)
    assert expected(ship)


@dataclass(frozen=True, slots=True)
class Log:
    on: bool = False
    colour: Colour = Colour.RED
    crew: tuple[str, ...] = ()
    depths_m: tuple[float, ...] = ()
    since: datetime | None = None
    key: Secret = NO_KEY
    title: str = ""


@dataclass(frozen=True, slots=True)
class Book:
    log: Log = Log()


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("ON", "true", Log(on=True)),
        ("ON", "False", Log(on=False)),
        ("COLOUR", "blue", Log(colour=Colour.BLUE)),
        ("CREW", "Ann, Bo", Log(crew=("Ann", "Bo"))),
        ("DEPTHS_M", "1,2.5", Log(depths_m=(1.0, 2.5))),
        ("SINCE", "2026-01-05T12:00:00+00:00", Log(since=datetime(2026, 1, 5, 12, tzinfo=UTC))),
        ("KEY", "hush", Log(key=Secret("hush"))),
        ("TITLE", "7", Log(title="7")),
    ],
)
def test_variables_are_text_until_the_class_says_otherwise(key: str, text: str, expected: Log) -> None:
    """Every type can be written in a variable; lists are separated by commas."""
    book = load_settings(Book, "", source="book.toml", environ={f"JURYMAST_LOG__{key}": text})
    assert book.log == expected


def test_other_variables_are_nobodys_business() -> None:
    """Variables without a section, or of other programs, are not settings."""
    environ = {"JURYMAST_CONFIG": "x", "PATH": "y", "OTHER_MAST__HEIGHT_M": "z"}
    assert load('name = "Pinta"', environ) == Ship(name="Pinta")


# Secrets


def test_a_secret_comes_from_the_environment(tmp_path: Path) -> None:
    """A table names the variable; one that is not set leaves the secret empty."""
    text = 'name = "Pinta"\nkey = { env = "SHIP_KEY" }'
    assert load(text, {"SHIP_KEY": "hush"}).key == Secret("hush")
    assert not load(text).key


def test_a_secret_comes_from_a_file_of_its_own(tmp_path: Path) -> None:
    """A table names the file; its last line end is not part of the secret, those inside are."""
    (tmp_path / "key").write_text("line one\nline two\n")
    ship = load(f'name = "Pinta"\nkey = {{ file = "{tmp_path / "key"}" }}')
    assert ship.key == Secret("line one\nline two")


@pytest.mark.parametrize(
    "raw", ['"sk-hush"', '{ env = "A", file = "B" }', '{ value = "sk-hush" }', "{ env = 7 }", '["sk-hush"]']
)
def test_a_secret_in_the_file_itself_is_refused(raw: str) -> None:
    """A literal secret is refused with both cures, and the refusal does not repeat it."""
    (mistake,) = mistakes(f'name = "Pinta"\nkey = {raw}')
    assert mistake.startswith("ship.toml, line 2: key: a secret does not belong in this file")
    assert '{ env = "NAME" } or { file = "path" }' in mistake
    assert "hush" not in mistake


def test_a_secret_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """A file that is absent, empty, huge or not text is refused by name and its content not shown."""
    contents = {"empty": b" \n", "huge": b"x" * (SECRET_BYTES_MAX + 1), "binary": b"\xff\xfe\x00"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    reasons = {"absent": "No such file", "empty": "is empty", "huge": "larger", "binary": "is not text"}
    for name, reason in reasons.items():
        (mistake,) = mistakes(f'name = "Pinta"\nkey = {{ file = "{tmp_path / name}" }}')
        assert str(tmp_path / name) in mistake
        assert reason in mistake


# Mistakes


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("colr = 1", "colr: unknown key; did you mean colour?"),
        ("[musts]", "musts: unknown key; did you mean mast?"),
        ("mast.sails.main.reefs = 4", "mast.sails.main.reefs: 4 is out of bounds: 0 to 3"),
        ("mast.sails.main.area_m2 = 0.4", "mast.sails.main.area_m2: 0.4 is out of bounds: 0.5 to 500.0 m2"),
        ("mast.sails.main.area_m2 = nan", "mast.sails.main.area_m2: should be a finite number, not nan"),
        ("mast.sails.main.reefs = 1.0", "mast.sails.main.reefs: should be a whole number, not a number"),
        (
            "mast.sails.main.reefs = true",
            "mast.sails.main.reefs: should be a whole number, not true or false",
        ),
        ('mast.height_m = "tall"', "mast.height_m: should be a number, not text"),
        ("insured = 1", "insured: should be true or false, not a whole number"),
        ('crew = "Ann"', "crew: should be a list, not text"),
        ('crew = ["Ann", 7]', "crew: should be text, not a whole number"),
        ('colour = "green"', "colour: should be one of red, blue, not 'green'"),
        ("colour = 7", "colour: should be one of red, blue, not '7'"),
        ("launched = 2026-01-05T14:00:00", "launched: needs a time zone: 2026-01-05T14:00:00Z"),
        ("launched = 2026-01-05", "launched: should be a date and time with its zone, not date"),
        ("mast = 7", "mast: is a table: write its keys below a line [mast]"),
        ("mast.sails = 7", "mast.sails: is a table of tables: write [mast.sails.NAME]"),
        ("mast.sails.main = 7", "mast.sails.main: is a table: write its keys below a line [mast.sails.main]"),
        ("berths.green.reefs = 1", "berths.green: should be one of red, blue, not 'green'"),
    ],
)
def test_a_mistake_names_its_line_its_key_and_the_cure(line: str, mistake: str) -> None:
    """Whatever is wrong with a key, the message says where it stands and what it should be."""
    assert mistakes(f'# our ship\nname = "Pinta"\n\n{line}\n') == [f"ship.toml, line 4: {mistake}"]


def test_unknown_keys_without_a_likeness_list_what_is_known() -> None:
    """When nothing resembles an unknown key the known ones are shown."""
    assert mistakes('name = "Pinta"\n[mast.sails.main]\nxyzzy = 1') == [
        "ship.toml, line 3: mast.sails.main.xyzzy: unknown key; known here: area_m2, reefs"
    ]


def test_a_missing_setting_says_what_it_is_for() -> None:
    """A setting without default is asked for, at the line of its table."""
    assert mistakes("# nothing\n") == ["ship.toml, line 1: name: is missing: as painted on the stern"]


@dataclass(frozen=True, slots=True)
class Bare:
    mast: Mast


def test_a_missing_table_is_asked_for_by_its_keys() -> None:
    """A table without default is not itself missing: what is missing is the key inside."""
    with pytest.raises(ConfigError, match=r"mast\.height_m: is missing: it has no default"):
        load_settings(Bare, "", source="bare.toml", environ={})


def test_a_class_that_refuses_its_values_is_heard() -> None:
    """Rules between settings are the class's own; its words are reported at its table."""

    @dataclass(frozen=True, slots=True)
    class Range:
        low: int = 0
        high: int = 9

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low is above high")

    with pytest.raises(ConfigError, match="low is above high"):
        load_settings(Range, "low = 10", source="range.toml", environ={})


def test_all_mistakes_are_reported_together_in_order() -> None:
    """Somebody who edits a file finds everything at once, in the order of its lines, variables last."""
    text = """
        name = 7
        # a comment
        crew = [
            # line 5
            "Ann",

            8,
        ]

        [jury]  # line 11
        height_m = "low"
        colr = '''
        height_m = 5
        '''
        [mast.sails.main]
        reefs = 9
    """
    environ = {"JURYMAST_MAST__HEIGHT_M": "tall", "JURYMAST_MAST__SPEED": "1"}
    assert mistakes(text, environ) == [
        "ship.toml, line 2: name: should be text, not a whole number",
        "ship.toml, line 4: crew: should be text, not a whole number",
        "ship.toml, line 12: jury.height_m: should be a number, not text",
        "ship.toml, line 13: jury.colr: unknown key; known here: height_m, sails",
        "ship.toml, line 17: mast.sails.main.reefs: 9 is out of bounds: 0 to 3",
        "JURYMAST_MAST__HEIGHT_M: mast.height_m: should be a number, not 'tall'",
        "JURYMAST_MAST__SPEED: mast.speed: unknown key; known here: height_m, sails",
    ]


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"JURYMAST_CREW__ANN": "cook"}, "overrides a key inside of something that is no table"),
        ({"JURYMAST_JURY__SAILS": "all"}, "is a table of tables"),
        ({"JURYMAST_NAME__FIRST": "x"}, "overrides a key inside of something that is no table"),
    ],
)
def test_a_variable_that_fits_nowhere_is_named(environ: dict[str, str], reason: str) -> None:
    """An override of what can't be overridden is a mistake, not a silence."""
    (mistake,) = mistakes('name = "Pinta"\ncrew = []', environ)
    assert mistake.startswith(next(iter(environ)))
    assert reason in mistake


def test_text_that_is_no_toml_is_refused_with_its_line() -> None:
    """A syntax error names the file and the line."""
    with pytest.raises(ConfigError, match=r"ship\.toml is no valid TOML: .*line 2"):
        load('name = "Pinta"\ncrew = oops')


def test_a_default_outside_its_own_bounds_is_a_mistake_of_ours() -> None:
    """Bounds are checked where they are written, before any file is read."""
    with pytest.raises(ValueError, match="default 11 is out of bounds"):
        bounded(11, low=0, high=10, unit="", doc="")


# Showing


def test_settings_describe_themselves_with_secrets_masked() -> None:
    """Every setting in force is listed with unit and purpose, and no secret is readable."""
    ship = load(
        'name = "Pinta"\ncrew = ["Ann", "Bo"]\nkey = { env = "KEY" }\n[mast.sails.main]\nreefs = 2',
        {"KEY": "hush"},
    )
    rows = {row.path: row for row in describe(ship)}
    assert rows["mast.sails.main.reefs"] == ("mast.sails.main.reefs", "2", "", "reefs taken in")
    assert rows["jury.sails.jury.area_m2"] == ("jury.sails.jury.area_m2", "6.0", "m2", "canvas set")
    assert rows["name"].doc == "as painted on the stern"
    assert rows["key"].value == "********"
    assert rows["crew"].value == "Ann, Bo"
    assert rows["colour"].value == "red"
    assert rows["insured"].value == "false"
    assert rows["launched"].value == "none"
    assert "hush" not in repr(describe(ship))
    assert [row.path for row in describe(ship)][:3] == [
        "name",
        "mast.height_m",
        "mast.sails.main.area_m2",
    ]
