"""What the simulated vendors would bill."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jurymast.lab.emulators.tariff import micros
from jurymast.lab.emulators.wire import Reply


@dataclass(frozen=True, slots=True)
class Ledger:
    """Running totals of one provider.

    ``requests`` counts inference requests that reached the server, ``billed`` those that a model began to
    work on. These are charged in full when work begins: a caller that hangs up still pays. Anthropic charges
    nothing for a refusal before its first token, xAI's fee for a refused prompt is not in tokens.
    ``output_tokens`` includes ``reasoning_tokens``, ``input_tokens`` what came from or went to the cache.
    ``bill`` is the sum of all bills in micro-dollars, each rounded up; ``undelivered`` is how much of it is
    for answers whose caller was gone before their end.
    """

    requests: int = 0
    billed: int = 0
    model_lists: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    bill: int = 0
    undelivered: int = 0

    def arrived(self) -> Ledger:
        return replace(self, requests=self.requests + 1)

    def listed(self) -> Ledger:
        return replace(self, model_lists=self.model_lists + 1)

    def lost(self, bill: int) -> Ledger:
        """A charged answer did not reach its caller in whole."""
        return replace(self, undelivered=self.undelivered + bill)

    def charged(self, reply: Reply) -> Ledger:
        return replace(
            self,
            billed=self.billed + 1,
            input_tokens=self.input_tokens + reply.input_tokens,
            output_tokens=self.output_tokens + reply.output_tokens,
            reasoning_tokens=self.reasoning_tokens + reply.reasoning_tokens,
            bill=self.bill + micros(reply.ticks),
        )
