"""Watches the models that are configured: listed, retiring, renamed, repriced.

The vendors' lists are asked at the start and daily. That is free and proves the key, but no model's health. A
list that can't be had says nothing: a bot starts and trades without one. A model that a list leaves out is
latched, as after a probe that says it is gone, unless it has answered within the day: what answers is served.
Nothing is ever chosen that nobody configured.
"""

from __future__ import annotations

from datetime import date
from typing import Final

from jurymast.app.wiring import Bot
from jurymast.domain.errors import ProviderError
from jurymast.domain.events import ModelNoticed, ModelsListed
from jurymast.domain.provider import FailureKind, ModelInfo, ModelNotice, ProviderName, Route, Tier, role_of
from jurymast.domain.status import RouteState
from jurymast.intelligence.providers.local import AUTO
from jurymast.policy.record import Record
from jurymast.policy.retirement import end_of, stage
from jurymast.ports import Provider

LIST_SECS: Final = 10.0
HOUR_SECS: Final = 3_600.0
ANSWERED_SECS: Final = 86_400.0
"""A model that answered within this time is served, whatever a list says."""


class ModelKeeper:
    """Looks at the lists and says what people should know, each thing once a run."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._told: set[tuple[ProviderName | None, str, ModelNotice, str]] = set()

    async def run(self) -> None:
        """Look at once, then every ``models.list_hours``."""
        while True:
            await self.look()
            if not self._bot.config.models.list_hours:
                return
            await self._bot.clock.sleep(self._bot.config.models.list_hours * HOUR_SECS)

    async def look(self) -> None:
        """Ask every provider for its list and act on what it says. Never raises for what a vendor does."""
        self._tell_of_names()
        for provider, listed in await self._bot.fallback.providers.list_models(LIST_SECS):
            await self._take(provider, listed)
        self._tell_of_roles()

    async def _take(self, provider: Provider, listed: tuple[ModelInfo, ...] | ProviderError) -> None:
        config, at = provider.config, self._bot.clock.utc_now()
        local = config.name is ProviderName.LOCAL
        if isinstance(listed, ProviderError) or not (listed or local):
            why = str(listed.failure) if isinstance(listed, ProviderError) else "the list is empty"
            self._bot.recorder.emit(
                ModelsListed(at=at, provider=config.name, instance=config.instance, failure=why)
            )
            return
        found = {model: entry_of(listed, model) for model in config.models}
        ends = {model: end for model, entry in found.items() if (end := self._end(model, entry)) is not None}
        self._bot.recorder.emit(
            ModelsListed(
                at=at,
                provider=config.name,
                instance=config.instance,
                listed=tuple(model for model, entry in found.items() if entry is not None),
                missing=tuple(model for model, entry in found.items() if entry is None),
                ends={model: end.isoformat() for model, end in ends.items()},
            )
        )
        for model, entry in found.items():
            await self._follow(Route(config.name, model, config.instance), entry, listed)
        for model, end in ends.items():
            self._warn(config.name, model, end)

    async def _follow(self, route: Route, entry: ModelInfo | None, listed: tuple[ModelInfo, ...]) -> None:
        """Drop what is not listed, have what is listed again probed, believe the vendor's prices."""
        fallback, record = self._bot.fallback, self._bot.fallback.core.health.records[route]
        if entry is not None:
            if gone(record):
                await fallback.probe(route)
            if change := fallback.providers.catalogue.quoted(entry):
                self._tell(route.provider, route.model, ModelNotice.PRICE, change)
            return
        has = ", ".join(info.model for info in listed[:5]) or "nothing"
        answers = self._bot.clock.monotonic() - record.last_success_at < ANSWERED_SECS
        if not answers and record.health.state is not RouteState.ISOLATED:
            fallback.drop_unlisted(route)
        fate = "it answers, so it stays for now" if answers else "it is not asked"
        self._tell(
            route.provider, route.model, ModelNotice.UNLISTED,
            f"not in the provider's list (which has {has}): {fate}; configure one that is",
        )  # fmt: skip

    def _end(self, model: str, entry: ModelInfo | None) -> date | None:
        ours = self._bot.fallback.providers.catalogue.entry(model)
        return end_of(entry.retires_on if entry else None, ours.retires_on if ours else None)

    def _warn(self, provider: ProviderName, model: str, end: date) -> None:
        today = self._bot.clock.utc_now().date()
        if (days := stage(end, today)) is not None:
            over = f"ends on {end}, within {days} days" if days else f"was to end on {end}"
            self._tell(provider, model, ModelNotice.RETIRES, f"{over}: configure its successor")

    def _tell_of_names(self) -> None:
        catalogue = self._bot.fallback.providers.catalogue
        for name, section in self._bot.config.providers.enabled().items():
            for old, notice in section.notices(catalogue).items():
                self._tell(name, old, ModelNotice.ALIAS, notice)

    def _tell_of_roles(self) -> None:
        """A role is not started when the lists have none of its models; exits go on without any."""
        roles: dict[str, list[Record]] = {}
        for record in self._bot.fallback.core.health.records.values():
            roles.setdefault(role_of(record.route.provider, record.spec.tier), []).append(record)
        for role, records in roles.items():
            if all(gone(record) for record in records):
                names = ", ".join(str(record.route) for record in records)
                means = "no new risk is taken" if records[0].spec.tier is not Tier.SMALL else "it is left out"
                detail = f"no model of role {role} is listed ({names}): {means}. Configure one that is."
                self._tell(None, role, ModelNotice.ROLE_EMPTY, detail)

    def _tell(self, provider: ProviderName | None, model: str, notice: ModelNotice, detail: str) -> None:
        key = (provider, model, notice, detail)
        if key not in self._told:
            self._told.add(key)
            at = self._bot.clock.utc_now()
            self._bot.recorder.emit(
                ModelNoticed(at=at, provider=provider, model=model, notice=notice, detail=detail)
            )


def gone(record: Record) -> bool:
    """Whether the route is out because its model is, by the list or by what a request was answered."""
    return record.health.state is RouteState.LATCHED and record.health.reason.startswith(
        FailureKind.MODEL_GONE
    )


def entry_of(listed: tuple[ModelInfo, ...], model: str) -> ModelInfo | None:
    """The entry that answers for a model, the exact one first; retired ones are there for the record only."""
    live = [info for info in listed if not info.retired]
    if model == AUTO:
        return next(iter(live), None)
    exact = next((info for info in live if info.model == model), None)
    return exact or next((info for info in live if info.names(model)), None)
