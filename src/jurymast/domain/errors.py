"""Every exception of the project.

    JurymastError
      ConfigError            the configuration is wrong; nothing was started           exit 2
      BundleError            a file of questions is damaged; nothing was loaded        exit 2
      PortTaken              another program listens where we must                     exit 3
      JournalError           the journal can't be used; nothing was written            exit 4
        JournalLocked          another bot writes to it
        JournalNewer           it was written by a newer version
        JournalUnwritable      no permission, no space, not a journal
      ControlUnwritable      a demand could not be kept; what was demanded before holds        exit 4
      ProviderError          one attempt at one route failed; carries a Failure
      ExchangeError          the exchange did not do what was asked
        OrderRejected          it said no: nothing was placed
        OrderUnknown           it said nothing: the order may exist, ask before sending anything
        SchemaDrift            it said something we must not guess at
        ExchangeUnavailable    it can't be asked now
      ReconcileError         our books and the exchange's differ and could not be squared   exit 5

Messages say what happened, what it means, and what to do.
"""

from __future__ import annotations

from jurymast.domain.money import Micros
from jurymast.domain.provider import Failure, Route


class JurymastError(Exception):
    """Base of all. ``exit_code`` is what the command line returns for it."""

    exit_code: int = 1


class ConfigError(JurymastError):
    """The configuration is wrong; nothing was started."""

    exit_code = 2


class BundleError(JurymastError):
    """A file of questions is damaged; nothing of it was loaded."""

    exit_code = 2


class PortTaken(JurymastError):
    """Another program listens where we must."""

    exit_code = 3


class JournalError(JurymastError):
    """The journal can't be used; nothing was written."""

    exit_code = 4


class JournalLocked(JournalError):
    """Another bot writes to this journal."""


class JournalNewer(JournalError):
    """The journal was written by a newer version."""


class JournalUnwritable(JournalError):
    """No permission, no space, or not a journal."""


class ControlUnwritable(JurymastError):
    """A demand could not be kept; what was demanded before holds."""

    exit_code = 4


class ProviderError(JurymastError):
    """One attempt at one route failed. ``cost`` is what it is booked at, in micro-dollars."""

    def __init__(self, route: Route, failure: Failure, cost: Micros = 0) -> None:
        super().__init__(f"{route}: {failure}")
        self.route = route
        self.failure = failure
        self.cost = cost


class ExchangeError(JurymastError):
    """The exchange did not do what was asked."""


class OrderRejected(ExchangeError):
    """The exchange said no; nothing was placed. ``code`` is its own word."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class OrderUnknown(ExchangeError):
    """The exchange said nothing; the order may exist."""


class SchemaDrift(ExchangeError):
    """The exchange said something we must not guess at."""


class ExchangeUnavailable(ExchangeError):
    """The exchange can't be asked now."""


class ReconcileError(JurymastError):
    """Our books and the exchange's differ and could not be squared; trading is refused."""

    exit_code = 5
