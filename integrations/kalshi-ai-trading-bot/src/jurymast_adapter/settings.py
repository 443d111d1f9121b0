"""Our settings, with the host's beneath them: what our file or our environment sets wins, then comes what the
host has, then our defaults. ``jurymast config show`` tells which it was.

Our file is ``jurymast.toml`` in the working directory, or what ``JURYMAST_CONFIG`` names. A host that can't
be imported (its settings fail, a test has mocked them) gives nothing, and its environment variables are read
directly.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from src.jurymast_adapter.types import ProviderConfig as HostProvider

from jurymast.app.config import Config
from jurymast.app.provenance import HostSetting, HostSettings, set_in_environment, set_in_file
from jurymast.app.settings import load_settings
from jurymast.app.wiring import provider_configs
from jurymast.domain.errors import ConfigError
from jurymast.domain.provider import ProviderConfig, ProviderName, Secret
from jurymast.intelligence.providers.catalogue import Catalogue

CONFIG_VARIABLE: Final = "JURYMAST_CONFIG"
CONFIG_FILE: Final = "jurymast.toml"
PLACEHOLDER: Final = "your_"
"""Begins the keys of the host's template, which are none."""
KEYS: Final = {
    ProviderName.XAI: ("api.xai_api_key", "XAI_API_KEY"),
    ProviderName.OPENAI: ("api.openai_api_key", "OPENAI_API_KEY"),
    ProviderName.ANTHROPIC: ("api.anthropic_api_key", "ANTHROPIC_API_KEY"),
}
URLS: Final = {ProviderName.OPENAI: ("api.openai_base_url", "OPENAI_BASE_URL")}
MODELS: Final = {ProviderName.XAI: "trading.xai_models", ProviderName.OPENAI: "trading.openai_models"}
LOCAL: Final = "trading.ensemble_enable_local_models"
DAILY_LIMIT: Final = "get_ai_daily_limit()"
USD_MAX: Final = 100_000.0


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything the layer is built from. ``notices`` are for people."""

    config: Config
    host: HostSettings
    notices: tuple[str, ...] = ()
    given: tuple[ProviderConfig, ...] = ()
    """Providers that a caller has handed over; they stand in the place of the configured ones."""

    def providers(self) -> tuple[ProviderConfig, ...]:
        """Who can be asked. Raises ConfigError when nobody can."""
        return self.given or provider_configs(self.config, None)


def load(environ: Mapping[str, str] = os.environ, keys: Mapping[ProviderName, str] | None = None) -> Setup:
    """Read everything. ``keys`` are those a caller passed in; they count where no other is known.

    Raises ConfigError for mistakes in our own file or environment.
    """
    named = environ.get(CONFIG_VARIABLE, "")
    path = Path(named or CONFIG_FILE)
    text = ""
    if named or path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} can't be read: {error}. Nobody can be asked.") from error
    config = load_settings(Config, text, source=str(path), environ=environ)
    ours = set_in_file(text) | set_in_environment(environ).keys()
    taking = _Taking(ours, host_settings(), environ)
    config = taking.into(config, keys or {})
    used = str(path.absolute()) if text else ""
    return Setup(config, HostSettings(used, tuple(taking.taken)), tuple(taking.notices))


def host_settings() -> Any:
    """The host's settings object, or None."""
    try:
        from src.config.settings import settings
    except Exception:  # its import runs the host's own code, whatever that does
        return None
    return settings


class _Taking:
    """Takes from the host what we do not set ourselves, and notes what it took."""

    def __init__(self, ours: frozenset[str] | set[str], host: Any, environ: Mapping[str, str]) -> None:
        self._ours, self._host, self._environ = ours, host, environ
        self._catalogue = Catalogue()
        self.taken: list[HostSetting] = []
        self.notices: list[str] = []

    def into(self, config: Config, keys: Mapping[ProviderName, str]) -> Config:
        self._catalogue = config.catalogue
        sections: dict[str, Any] = {}
        for name in ProviderName:
            section = getattr(config.providers, name.value)
            sections[name.value] = self._provider(name, section, keys.get(name, ""))
        failover = config.failover
        if (limit := self._limit()) is not None and self._free("failover.budget_usd_per_day"):
            failover = replace(failover, budget_usd_per_day=limit)
            self._note("failover.budget_usd_per_day", str(limit), DAILY_LIMIT)
        return replace(config, providers=replace(config.providers, **sections), failover=failover)

    def _provider(self, name: ProviderName, section: Any, key: str) -> Any:
        path = f"providers.{name}"
        if name in KEYS and self._free(f"{path}.api_key"):
            attribute, variable = KEYS[name]
            found = self._text(attribute) or self._environ.get(variable, "") or key
            if found and not found.startswith(PLACEHOLDER):
                section = replace(section, api_key=Secret(found.strip()))
                self._note(f"{path}.api_key", str(section.api_key), variable)
        if name in URLS and self._free(f"{path}.base_url"):
            attribute, variable = URLS[name]
            found = self._text(attribute) or self._environ.get(variable, "")
            if found:
                section = replace(section, base_url=found.strip())
                self._note(f"{path}.base_url", section.base_url, variable)
        if name in MODELS and self._free(f"{path}.models"):
            section = self._models(f"{path}.models", section, MODELS[name])
        if name is ProviderName.LOCAL and not any(each.startswith(path) for each in self._ours):
            section = replace(section, enabled=self._value(LOCAL) is True)
            self._note(f"{path}.enabled", str(section.enabled).lower(), LOCAL)
        return section

    def _models(self, path: str, section: Any, attribute: str) -> Any:
        listed = self._value(attribute)
        if not isinstance(listed, list | tuple):
            return section
        names = [each for each in listed if isinstance(each, str)]
        known = usable_models(names, self._catalogue, self.notices)
        if not known:
            return section
        self._note(path, ", ".join(known), attribute)
        return replace(section, models=known)

    def _limit(self) -> float | None:
        try:
            found = self._host.get_ai_daily_limit()
        except Exception:  # no host, an older one, or a mock
            return None
        usable = isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found <= USD_MAX
        return float(found) if usable else None

    def _free(self, path: str) -> bool:
        return not any(each == path or each.startswith(path + ".") for each in self._ours)

    def _note(self, path: str, value: str, source: str) -> None:
        self.taken.append(HostSetting(path, value, source))

    def _value(self, attribute: str) -> Any:
        found = self._host
        for name in attribute.split("."):
            found = getattr(found, name, None)
        return found

    def _text(self, attribute: str) -> str:
        found = self._value(attribute)
        return found if isinstance(found, str) else ""


def usable_models(names: Sequence[str], catalogue: Catalogue, notices: list[str]) -> tuple[str, ...]:
    """The models of a list that may be asked, by the names they have now. What has no known price is left
    out: its cost could not be limited."""
    usable: dict[str, None] = {}
    for name in names:
        model, notice = catalogue.resolve(name)
        if notice:
            notices.append(notice)
        try:
            catalogue.price(model)
        except ConfigError:
            notices.append(f"{name} is not asked: no price is known for it")
        else:
            usable[model] = None
    return tuple(usable)


def handed_over(providers: Mapping[str, HostProvider], setup: Setup) -> Setup:
    """The same for providers that a caller configured itself. Raises ValueError for an unknown name."""
    notices, given, catalogue = list(setup.notices), [], setup.config.catalogue
    for name, provider in providers.items():
        known = ProviderName(name)
        section = getattr(setup.config.providers, known.value)
        if known is ProviderName.LOCAL:
            models = tuple(provider.models) or section.models
        else:
            models = usable_models(provider.models, catalogue, notices) or section.models
        given.append(
            ProviderConfig(
                name=known,
                base_url=provider.endpoint,
                models=models,
                priority=provider.priority,
                api_key=Secret(provider.api_key or ""),
                max_concurrent=max(1, provider.max_concurrent_requests),
                stream=section.stream,
                edge=section.edge,
            )
        )
    return replace(setup, notices=tuple(dict.fromkeys(notices)), given=tuple(given))


def shown(setup: Setup) -> dict[str, HostProvider]:
    """The providers as the host's own dataclass, keys included: its callers expect them."""
    work, catalogue = setup.config.work, setup.config.catalogue
    try:
        configs = setup.providers()
    except ConfigError:
        return {}
    found: dict[str, HostProvider] = {}
    for config in configs:
        try:
            per_token = catalogue.price(config.models[0]).output / 1e12
        except ConfigError:
            per_token = 0.0
        found.setdefault(
            str(config.name),
            HostProvider(
                name=str(config.name),
                endpoint=config.base_url,
                api_key=config.api_key.value,
                models=list(config.models),
                priority=config.priority,
                timeout=work.attempt_secs_max,
                max_retries=work.sends_max,
                cost_per_token=per_token,
                max_concurrent_requests=config.max_concurrent,
            ),
        )
    return found
