"""Put the AI layer into a program of your own, and watch it survive. Run it: it needs no key.

    uv run python examples/fallback_integration_example.py

It starts emulated providers (SIMULATED, on this machine only), connects the AI layer to them as it would
to real ones, and asks about one market through an outage. For real providers give real addresses and
keys and leave the emulators out: nothing else changes.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from jurymast.app.clock import SystemClock
from jurymast.domain.decision import Decision
from jurymast.domain.events import Event, FailedOver, ModeChanged
from jurymast.domain.market import Book, EvidenceItem, Level, Market, MarketSnapshot, MarketStatus
from jurymast.domain.money import CENT, CONTRACT, USD
from jurymast.domain.provider import ProviderConfig, ProviderName, Secret
from jurymast.exchange.paths import PricePath
from jurymast.intelligence.assembly import connect
from jurymast.intelligence.enhanced_client import EnhancedAIClient
from jurymast.intelligence.fallback_manager import FallbackSettings
from jurymast.lab.emulators.fleet import EmulatorFleet
from jurymast.lab.world import QuestionOracle
from jurymast.policy.detector import DetectorSettings
from jurymast.policy.ladder import LadderSettings

NOW = datetime.now(UTC)
MARKET = Market(
    ticker="EXAMPLE-RAIN",
    event_ticker="EXAMPLE",
    category="weather",
    title="Will it rain in Bergen tomorrow?",
    rules="Resolves YES if the airport station reports at least 0.1 mm between midnight and midnight.",
    open_time=NOW - timedelta(days=1),
    close_time=NOW + timedelta(days=1),
)
SNAPSHOT = MarketSnapshot(
    market=MARKET,
    status=MarketStatus.ACTIVE,
    book=Book(
        bids=(Level(61 * CENT, 300 * CONTRACT),),
        asks=(Level(63 * CENT, 250 * CONTRACT),),
    ),
    volume_24h=5_000 * CONTRACT,
    as_of=NOW,
)
EVIDENCE = (EvidenceItem("climate:bergen", "Climate normals", "It rains on 231 days of a year.", NOW),)
MODELS = {
    ProviderName.XAI: ("grok-4.3",),
    ProviderName.OPENAI: ("gpt-6.1-terra",),
    ProviderName.ANTHROPIC: ("claude-sonnet-5-5",),
}
# Short times, so that the example recovers while you watch; the defaults are for real use.
SETTINGS = FallbackSettings(detector=DetectorSettings(open_secs=1.0), ladder=LadderSettings(dwell_secs=1.0))


def note(event: Event) -> None:
    """Events are plain records: store them, count them, print them."""
    match event:
        case FailedOver():
            print(f"      failover {event.from_route or 'nobody'} -> {event.to_route or 'nobody'}")
        case ModeChanged():
            print(f"      mode {event.old} -> {event.new}: {event.reason}")
        case _:
            pass


async def ask(client: EnhancedAIClient, heading: str) -> None:
    """One decision; it never raises and is never late."""
    answer = await client.get_trading_decision(SNAPSHOT, EVIDENCE, deadline_secs=10.0)
    if isinstance(answer, Decision):
        said = f"{answer.forecast.probability_pct}% by {answer.route} ({answer.rung}), {answer.secs:.2f} s"
    else:
        said = f"no decision: {answer.reason}"
    print(f"{heading:<22}{said}")


async def main() -> None:
    """Healthy, one provider down, all down, back again."""
    print("SIMULATED providers\n")
    async with EmulatorFleet(QuestionOracle((), PricePath(0)), latency_scale=0.05, models=MODELS) as fleet:
        configs = [
            ProviderConfig(
                name=name,
                base_url=fleet.base_urls[name],  # for real: "https://api.x.ai/v1" and so on
                models=models,
                priority=priority,
                api_key=Secret("emulated"),
            )
            for priority, (name, models) in enumerate(MODELS.items(), start=1)
        ]
        async with connect(
            configs, clock=SystemClock(), emit=note, settings=SETTINGS, budget_per_day=5 * USD
        ) as client:
            await ask(client, "all healthy")
            await fleet.set_fault("xai", "refuse")
            await ask(client, "xAI refuses")
            await fleet.set_fault("all", "503")
            for _ in range(3):
                await ask(client, "everything is down")
            await fleet.clear_faults("all")
            for _ in range(12):
                await client.fallback_manager.check_recovery()  # a supervisor calls this every second
                await asyncio.sleep(0.5)
            await ask(client, "everything is back")
            status = client.get_system_status()
            print(f"\nmode {status.mode}, spent ${status.cost / USD:.4f} (SIMULATED)")


if __name__ == "__main__":
    asyncio.run(main())
