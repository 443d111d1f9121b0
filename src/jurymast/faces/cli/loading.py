"""The configuration of a command: its file or the built-in one, the environment, then what the line says."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from jurymast.app.config import Config, embedded_toml
from jurymast.app.settings import load_settings
from jurymast.domain.errors import ConfigError


def read_config_text(config_file: Path | None) -> tuple[str, str]:
    """Text and name of a configuration, the built-in one without a file. Raises ConfigError."""
    if config_file is None:
        return embedded_toml(), "the built-in configuration"
    try:
        return config_file.read_text(encoding="utf-8"), str(config_file)
    except OSError as error:
        raise ConfigError(f"{config_file} can't be read: {error.strerror}. Nothing was started.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{config_file} is not UTF-8 text. Nothing was started.") from error


def load_config(
    config_file: Path | None, *, data_dir: Path | None, seed: int | None, weather: bool | None
) -> Config:
    """The configuration of a run: file or built-in, environment, then the command line."""
    text, source = read_config_text(config_file)
    config = load_settings(Config, text, source=source, environ=os.environ)
    bot, lab = config.bot, config.lab
    if data_dir is not None:
        bot = replace(bot, data_dir=str(data_dir))
    if seed is not None:
        bot = replace(bot, seed=seed)
    if weather is not None:
        lab = replace(lab, weather=weather)
    return replace(config, bot=bot, lab=lab)
