"""What goes wrong in ``failover.py``: who is broken, how, from when to when, and when questions are asked.

Times are seconds of the story, which runs faster than the wall (see ``compressed.py``). Names follow the list
of faults that the AI layer is built against; letters tell variants. Left out, because a router of requests
has no say in them: a second key of the same provider (to a router it is one more provider), budgets and
prices, restarts and clock jumps, the replay of real outages over months (a simulator's work).
"""

from __future__ import annotations

from dataclasses import dataclass, field

PRIMARY, SECONDARY, LAST = "xai", "openai", "local"
CLOUDS = (PRIMARY, SECONDARY)
EVERYBODY = (PRIMARY, SECONDARY, LAST)
MODELS = {PRIMARY: ("grok-4.3",), SECONDARY: ("gpt-6.1-terra",), LAST: ("llama3.1:8b",)}
SIBLING = "grok-4.7"
"""Second model of the primary, used where one model alone is out."""

MENDED = ""
SLOW, STALL, CAPACITY, SPILL, COLD, SYN_DROP = "slow", "stall", "capacity", "spill", "cold", "syn_drop"
CONDITIONS = frozenset({SLOW, STALL, CAPACITY, SPILL, COLD, SYN_DROP})
"""What the emulators have no word for; ``fault_server.py`` does these around them."""
MILD = frozenset({SPILL, COLD})
"""Burdens on a provider that is not sick: sends to it are not counted as wasted."""


@dataclass(frozen=True, slots=True)
class Regime:
    """How fast the story runs and how long things take in it, for every client alike.

    ``latency_scale`` multiplies the emulators' answer times (medians of 4, 4 and 8 s at 1). An attempt may
    take ``attempt_secs``, a decision ``deadline_secs``. ``cooldown_secs`` and ``timeout_secs`` are those of
    the tuned LiteLLM.
    """

    name: str
    scale: float
    latency_scale: float
    deadline_secs: float
    attempt_secs: float
    cooldown_secs: float
    timeout_secs: float


def decisions(scale: float) -> Regime:
    """Answers that take as long as real ones; the shipped settings of everybody."""
    return Regime("decisions", scale, 1.0, 60.0, 25.0, 30.0, 30.0)


BURSTS = Regime("bursts", 3.0, 0.0125, 10.0, 2.0, 10.0, 2.0)
"""Answers of 50 ms by the dozen a second, time-outs of 2 s: where gateways are usually measured."""


@dataclass(frozen=True, slots=True)
class Step:
    """From ``at_secs`` on a provider has this fault, or none. ``amount`` belongs to the condition."""

    at_secs: float
    provider: str
    fault: str = MENDED
    model: str | None = None
    probability: float = 1.0
    retry_after: str | None = None
    amount: float = 0.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story. Questions come at fixed times, or from ``workers`` that each wait for their answer."""

    name: str
    title: str
    regime: str
    steps: tuple[Step, ...]
    asks: tuple[float, ...]
    workers: int = 0
    siblings: bool = False
    streamed: bool = False
    last_only: bool = False
    """Only the last question counts: the ones before teach the client what is usual."""
    repeats: int = 1
    """Played so many times a round, each with a seed of its own: one question is one throw of the dice."""

    @property
    def group(self) -> str:
        if self.last_only:
            return "first answers"
        return "crowds" if self.regime == BURSTS.name else "outages"


@dataclass(frozen=True, slots=True)
class Phases:
    """Healthy for ``warm_secs``, broken for ``fault_secs``, watched for ``after_secs`` more."""

    warm_secs: float = 20.0
    fault_secs: float = 60.0
    after_secs: float = 70.0
    gap_secs: float = 2.0

    def longer(self, fault_secs: float, gap_secs: float | None = None) -> Phases:
        return Phases(self.warm_secs, fault_secs, self.after_secs, gap_secs or self.gap_secs)

    @property
    def mended_secs(self) -> float:
        return self.warm_secs + self.fault_secs

    @property
    def asks(self) -> tuple[float, ...]:
        return every(self.gap_secs, self.mended_secs + self.after_secs)


SHORT = Phases(10.0, 40.0, 30.0)
SHORT_NAMES = ("S1", "S3", "S8", "S9b", "S15")


@dataclass(frozen=True, slots=True)
class Break:
    """One or more providers broken in the same way for a while."""

    fault: str
    providers: tuple[str, ...] = (PRIMARY,)
    model: str | None = None
    probability: float = 1.0
    retry_after: str | None = None
    amount: float = 0.0
    extra: tuple[Step, ...] = field(default=())

    def steps(self, from_secs: float, to_secs: float | None) -> tuple[Step, ...]:
        broken = [
            Step(from_secs, name, self.fault, self.model, self.probability, self.retry_after, self.amount)
            for name in self.providers
        ]
        mended = [Step(to_secs, name) for name in self.providers] if to_secs is not None else []
        return (*broken, *self.extra, *mended)


def every(gap_secs: float, until_secs: float) -> tuple[float, ...]:
    """Evenly spaced, half a gap off: no question is put in the moment of a change."""
    return tuple((n + 0.5) * gap_secs for n in range(round(until_secs / gap_secs)))


def outages(phases: Phases) -> list[Scenario]:
    """S1 to S21: a decision every two seconds of the story, sixty seconds for each."""
    p, long = phases, phases.longer(phases.fault_secs * 2)

    def one(name: str, title: str, broken: Break, phases: Phases = p, **more: bool) -> Scenario:
        steps = broken.steps(phases.warm_secs, phases.mended_secs)
        return Scenario(name, title, "decisions", steps, phases.asks, **more)

    quota = Break("quota").steps(p.warm_secs, None)
    storms = [
        step
        for start in (p.warm_secs, p.warm_secs + 90.0, p.warm_secs + 180.0)
        for step in Break("529").steps(start, start + 30.0)
    ]
    storm_asks = every(p.gap_secs, p.warm_secs + 270.0)
    rare, dense = p.longer(300.0, 20.0), p.longer(120.0, 1.0)
    spill = Step(p.warm_secs, SECONDARY, SPILL, amount=3.0)
    cold_start = Step(p.warm_secs, LAST, COLD, amount=30.0)
    return [
        one("S1", "hard down, fast 503", Break("503")),
        one("S1-rare", "the same at one decision in 20 s, 5 min", Break("503"), rare),
        one("S2", "connections are never made", Break(SYN_DROP)),
        one("S3", "black hole: accepted, never answered", Break("hang")),
        one("S4-10", "503 for 10 % of requests", Break("503", probability=0.10), long),
        one("S4-25", "503 for 25 %", Break("503", probability=0.25), long),
        one("S4-40", "503 for 40 %", Break("503", probability=0.40), long),
        one("S4-60", "503 for 60 %", Break("503", probability=0.60), long),
        one("S6-3", "answers take 3 times as long", Break(SLOW, amount=3.0), long),
        one("S6-10", "answers take 10 times as long", Break(SLOW, amount=10.0), long),
        one("S7", "drip: bytes without end, answer whole", Break("drip")),
        one("S7-stream", "drip after half a stream", Break("drip"), streamed=True),
        one("S8", "body cut half-way", Break("cut")),
        one("S8-stream", "stream cut half-way", Break("cut"), streamed=True),
        one("S8-length", "half an answer, finish reason length", Break("truncated")),
        one("S9a", "429, Retry-After 2 s", Break("429", retry_after="2")),
        one("S9b", "429, Retry-After 120 s", Break("429", retry_after="120")),
        one("S9c", "429, Retry-After unreadable", Break("429", retry_after="garbage")),
        Scenario("S10", "no credit, not mended", "decisions", quota, p.asks),
        Scenario("S11", "529 for 30 s in every 90", "decisions", tuple(storms), storm_asks),
        one("S12", "one model out, its sibling well", Break("503", model="grok-4.3"), siblings=True),
        one("S13-404", "valid calls called 404", Break("model_gone")),
        one("S13-401", "valid calls called 401", Break("auth")),
        one("S13-400", "valid calls called 400", Break("bad_request")),
        one("S14", "5 % answers of a wrong shape", Break("wrong_schema", probability=0.05), dense),
        one("S15", "both clouds behind one dead edge", Break("html_502", CLOUDS)),
        one("S16", "everything down", Break("503", EVERYBODY)),
        one("S17", "S1, and the next slows 3 times under load", Break("503", extra=(spill,))),
        one("S18", "half the capacity, 503 above it", Break(CAPACITY, amount=1 / (2 * p.gap_secs))),
        one("S21", "clouds down, local loads for 30 s", Break("503", CLOUDS, extra=(cold_start,))),
    ]  # fmt: skip


FIRST_ANSWER_WARM_SECS = 15.0
WARM_ASKS = 8


def first_answers() -> list[Scenario]:
    """One question to a client that has just seen eight good answers, and then the primary breaks."""
    broken = {
        "500": Break("500"),
        "429": Break("429", retry_after="20"),
        "hang": Break("hang"),
        "reset": Break("reset"),
        "refuse": Break("refuse"),
        "json": Break("invalid_json"),
        "cut": Break("cut"),
        "drip": Break("drip"),
        "400": Break("bad_request"),
    }
    asks = (*[0.0] * WARM_ASKS, FIRST_ANSWER_WARM_SECS + 1.0)
    return [
        Scenario(f"F-{name}", f"first answer after {name}", "decisions",
                 what.steps(FIRST_ANSWER_WARM_SECS, None), asks, last_only=True, repeats=3)
        for name, what in broken.items()
    ]  # fmt: skip


def crowds() -> list[Scenario]:
    """Many questions at once: against a dead primary, through a short outage, through stalls."""
    at_once = (Break("500"), Break("429", retry_after="20"), Break("invalid_json"))
    dead = [
        Scenario(f"C-{what.fault}", f"200 questions by 10 workers, primary {what.fault}", "bursts",
                 what.steps(0.0, None), (0.0,) * 200, workers=10)
        for what in at_once
    ]  # fmt: skip
    hang = Scenario(
        "C-hang", "60 questions by 10 workers, primary hang", "bursts",
        Break("hang").steps(0.0, None), (0.0,) * 60, workers=10,
    )  # fmt: skip
    open_loop = [
        Scenario(f"D-{fault}", f"10 a second, primary {fault} for 20 s", "bursts",
                 Break(fault).steps(5.0, 25.0), every(0.1, 45.0))
        for fault in ("503", "hang")
    ]  # fmt: skip
    stalls = Scenario(
        "E-stall", "10 a second, 5 % take 5 s, the others 50 ms", "bursts",
        Break(STALL, probability=0.05, amount=5.0).steps(0.0, None), every(0.1, 45.0),
    )  # fmt: skip
    return [*dead, hang, *open_loop, stalls]


def chosen(*, short: bool, only: frozenset[str] = frozenset()) -> list[Scenario]:
    """The scenarios of a run, in order. Raises ValueError for a name there is none of."""
    known = [*outages(SHORT if short else Phases()), *first_answers(), *crowds()]
    if unknown := only - {scenario.name for scenario in known}:
        names = ", ".join(scenario.name for scenario in known)
        raise ValueError(f"no scenario {', '.join(sorted(unknown))}; there are {names}")
    wanted = only or (frozenset(SHORT_NAMES) if short else frozenset(s.name for s in known))
    return [scenario for scenario in known if scenario.name in wanted]
