"""Values that every decision makes: frozen for the type checker, plain objects at run time.

A dataclass that is frozen at run time sets each field by ``object.__setattr__``, in 560 instructions where
a plain one takes ten. A decision makes values of a hundred fields: that was a twelfth of all it does. The
checker refuses an assignment to a field all the same, ours and that of whoever uses us with types.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

_Class = TypeVar("_Class")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[_Class]) -> type[_Class]:
    """A slotted dataclass, compared and hashed by its fields, that nobody changes."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
