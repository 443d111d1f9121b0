"""What speaks against a configuration beyond its types and bounds: found before a start, not at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from jurymast.app.alert_channels import address_of
from jurymast.app.config import Config
from jurymast.app.exchange import check_armed
from jurymast.app.wiring import provider_configs
from jurymast.domain.errors import ConfigError, JurymastError
from jurymast.domain.provider import ProviderName
from jurymast.exchange.kalshi.hosts import Environment


class Remark(NamedTuple):
    """One thing to know. ``stops`` says that a start would be refused."""

    path: str
    text: str
    stops: bool = False


def remarks(config: Config, environ: Mapping[str, str]) -> Iterator[Remark]:
    """Everything that is found."""
    yield from _providers(config)
    if config.exchange.host is Environment.PRODUCTION:
        try:
            check_armed(config, environ, config.exchange.account)
        except JurymastError as error:
            yield Remark("exchange", str(error))
    for name, contact in config.alerts.contacts.items():
        if wrong := address_of(contact):
            yield Remark(f"alerts.contacts.{name}", wrong)
    if config.telegram.enabled and config.telegram.missing:
        yield Remark("telegram", config.telegram.missing)
    if config.failover.budget_usd_per_day == 0:
        yield Remark("failover.budget_usd_per_day", "is 0: only free models can be asked")


def _providers(config: Config) -> Iterator[Remark]:
    """Who can be asked, and what of the models is not as written."""
    if not config.lab.emulate:
        try:
            provider_configs(config, None)
        except ConfigError as error:
            yield Remark("providers", str(error), stops=True)
    for name, section in config.providers.enabled().items():
        if name is ProviderName.LOCAL:
            continue
        path, instances = f"providers.{name}", section.instances.values()
        if not config.lab.emulate and not any([section.api_key, *(each.api_key for each in instances)]):
            yield Remark(path, "has no key and is left out")
        for notice in section.notices(config.catalogue).values():
            yield Remark(f"{path}.models", notice)
        for model in section.resolved(config.catalogue):
            if config.catalogue.entry(model) is None:
                text = f"no price is known for {model}: add [prices.{model!r}], or it can't be asked"
                yield Remark(f"{path}.models", text, stops=True)
