"""News of models in plain words."""

from __future__ import annotations

from jurymast.domain.events import CanaryFinished, ModelNoticed, ModelSwapped
from jurymast.domain.provider import ModelNotice, same_model

_MILD = frozenset({ModelNotice.ALIAS, ModelNotice.PRICE})


def describe_model(event: ModelNoticed | ModelSwapped | CanaryFinished) -> tuple[str, str]:
    """(style, line) of an event."""
    match event:
        case ModelNoticed():
            style = "warn" if event.notice in _MILD else "bad"
            return style, f"{event.provider or 'models'}: {event.model}: {event.detail}"
        case ModelSwapped():
            back = same_model(event.served, event.route.model)
            style, meaning = ("good", "as asked") if back else ("bad", "size is cut")
            return style, f"{event.route} is answered by {event.served}, before by {event.before}: {meaning}"
        case CanaryFinished():
            if event.changed:
                return "bad", (
                    f"behaviour changed: {event.served} has moved by {event.shift:.2f} in log-odds under the "
                    "same name: its record counts no more, size is cut"
                )
            moved = "the first answers" if event.shift is None else f"{event.shift:.2f} from its base"
            return "quiet", f"canary: {event.served}: {event.detail or moved}"
