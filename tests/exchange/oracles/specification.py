"""Kalshi's own description of its API, as a judge of what was said on the wire.

``openapi.yaml`` and ``asyncapi.yaml`` come with the source distribution of kalshi-sdk; they are not ours to
hand on, so a directory with them is named from outside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from wiretap import Exchanged

FRAMES = {
    "subscribed": "subscribedResponsePayload",
    "unsubscribed": "unsubscribedResponsePayload",
    "error": "errorResponsePayload",
    "orderbook_snapshot": "orderbookSnapshotPayload",
    "orderbook_delta": "orderbookDeltaPayload",
    "ticker": "tickerPayload",
    "trade": "tradePayload",
    "fill": "fillPayload",
    "user_order": "userOrderPayload",
    "market_position": "marketPositionPayload",
    "market_lifecycle_v2": "marketLifecycleV2Payload",
    "order_group_updates": "orderGroupUpdatesPayload",
}
COMMANDS = {
    "subscribe": "subscribeCommandPayload",
    "unsubscribe": "unsubscribeCommandPayload",
    "update_subscription": "updateSubscriptionCommandPayload",
    "list_subscriptions": "listSubscriptionsCommandPayload",
}


class Specification:
    """Both files of one version."""

    def __init__(self, directory: Path) -> None:
        rest = yaml.load((directory / "openapi.yaml").read_text(), yaml.CSafeLoader)
        socket = yaml.load((directory / "asyncapi.yaml").read_text(), yaml.CSafeLoader)
        self.version: str = rest["info"]["version"]
        self.paths: dict[str, Any] = rest["paths"]
        self._rest = {"components": _plain(rest["components"])}
        self._socket = {"components": _plain(socket["components"])}
        self._validators: dict[str, Any] = {}

    @cached_property
    def _templates(self) -> list[tuple[re.Pattern[str], str]]:
        """Paths without placeholders first: ``orders/batched`` is no order."""
        ordered = sorted(self.paths, key=lambda path: path.count("{"))
        return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in ordered]

    def template(self, method: str, path: str) -> str | None:
        """The path of the specification that a request went to."""
        for pattern, template in self._templates:
            if pattern.fullmatch(path) and method.lower() in self.paths[template]:
                return template
        return None

    def wrong(self, said: Exchanged) -> list[str]:
        """What does not fit in a request and its answer."""
        template = self.template(said.method, said.path)
        if template is None:
            return [f"{said.who}: {said.method} {said.path}: no such operation"]
        operation = self.paths[template][said.method.lower()]
        name = f"{said.who}: {said.method} {template}"
        found = [*self._query(name, template, operation, said), *self._body(name, operation, said)]
        answer = operation["responses"].get(str(said.status))
        if answer is None:
            return [*found, f"{name}: the status {said.status} is not among {sorted(operation['responses'])}"]
        schema = _json_schema(answer)
        if schema is not None and said.status < 400:  # errors are nested as recorded, not as specified
            found += self._hold(f"{name} {said.status}", said.answer, _plain(schema), self._rest)
        return found

    def wrong_frame(self, who: str, frame: dict[str, Any]) -> list[str]:
        kind = frame["type"]
        name = FRAMES.get(kind)
        if kind == "ok":
            several = isinstance(frame["msg"], list)
            name = "listSubscriptionsResponsePayload" if several else "okResponsePayload"
        if name is None:
            return [f"{who}: frame {kind}: not in the specification"]
        schema = {"$ref": f"#/components/schemas/{name}"}
        return list(self._hold(f"{who}: frame {kind}", frame, schema, self._socket))

    def wrong_command(self, who: str, command: dict[str, Any]) -> list[str]:
        schema = {"$ref": f"#/components/schemas/{COMMANDS[command['cmd']]}"}
        return list(self._hold(f"{who}: command {command['cmd']}", command, schema, self._socket))

    def _query(self, name: str, template: str, operation: dict[str, Any], said: Exchanged) -> Iterator[str]:
        listed = [*self.paths[template].get("parameters", []), *operation.get("parameters", [])]
        known = {each["name"]: each for each in map(self._resolved, listed) if each["in"] == "query"}
        for given, _ in said.query:
            if given not in known:
                yield f"{name}: there is no parameter {given}"
        for each in known.values():
            if each.get("required") and each["name"] not in dict(said.query):
                yield f"{name}: the parameter {each['name']} is required"

    def _body(self, name: str, operation: dict[str, Any], said: Exchanged) -> Iterator[str]:
        asked = operation.get("requestBody")
        schema = None if asked is None else _json_schema(self._resolved(asked))
        if schema is None:
            if said.body not in (None, {}):
                yield f"{name}: takes no body"
        elif said.body is not None and said.status < 400:
            yield from self._hold(f"{name} request", said.body, _plain(schema), self._rest)

    def _resolved(self, part: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in part:
            found: Any = self._rest
            for step in part["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            part = found
        return part

    def _hold(self, name: str, value: Any, schema: dict[str, Any], whole: dict[str, Any]) -> Iterator[str]:
        key = repr(schema)
        if key not in self._validators:
            self._validators[key] = jsonschema.Draft202012Validator(schema | whole)
        for error in self._validators[key].iter_errors(value):
            yield f"{name}: {'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"


def _json_schema(part: dict[str, Any]) -> dict[str, Any] | None:
    content = part.get("content", {}).get("application/json")
    return None if content is None else content["schema"]


def _plain(value: Any) -> Any:
    """OpenAPI 3.0 as JSON schema: what may be null says so by a type of its own."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {name: _plain(each) for name, each in value.items() if name not in {"nullable", "example"}}
    return {"anyOf": [made, {"type": "null"}]} if value.get("nullable") is True else made
