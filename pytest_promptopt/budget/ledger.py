"""What the run may spend: every attempt is reserved before it is sent and settled when it is over."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from json import dumps
from pathlib import Path

from pytest_promptopt.budget.billing import answer_bound, unbounded_parameter
from pytest_promptopt.budget.shared_totals import SharedTotals, charge, get, outstanding, put, spend_of, total
from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.records import Answer, Request, Role, Spend, Usage
from pytest_promptopt.records.content import File, Thought
from pytest_promptopt.unpatched import os, time

#: Length of an answer where the request names none and nobody knows the most that its model can give; under a
#: ceiling it is sent along, so that a reservation is a bound.
DEFAULT_MAX_TOKENS = 8192

#: What a provider adds to the text it is given: the frame of a message, the instructions of a schema.
TOKENS_PER_MESSAGE = 16
TOKENS_PER_SCHEMA = 500

#: Claude scales an image down to what costs less; OpenAI's small models count up to 48,000 for a large one.
TOKENS_PER_CLAUDE_IMAGE, TOKENS_PER_IMAGE = 5_000, 50_000
#: A page of a PDF is sent as text and as an image; a shorter page than this is hardly ever written.
TOKENS_PER_PAGE, BYTES_PER_PAGE, MOST_PER_DOCUMENT = 5_000, 2_000, 200_000

#: The share of a ceiling on time that is kept for confirming and scoring what the search finds.
SCORING_TIME = 0.25


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens, in the four counters of `Usage`."""

    input: float
    output: float
    cache_read: float
    cache_write: float

    def of(self, usage: Usage) -> float:
        return (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_read_tokens * self.cache_read
            + usage.cache_write_tokens * self.cache_write
        ) / 1e6

    def bound(self, request: Request) -> float:
        """The most that one attempt at `request` can cost."""
        most = input_bound(request) * max(self.input, self.cache_write) + output_bound(request) * self.output
        return most / 1e6


def input_bound(request: Request) -> int:
    """The most tokens that `request` can be counted as: a token is never shorter than a byte."""
    texts = [message.content for message in request.messages]
    parts = [part for message in request.messages for part in message.parts]
    overhead = TOKENS_PER_MESSAGE * (1 + len(texts) + len(parts)) + sum(
        _file_bound(file, request.model) for file in request.files
    )
    # Nobody reads them in a turn, but they are sent back and billed.
    texts += [each.text + each.signature + each.redacted for each in parts if isinstance(each, Thought)]
    for extra in (request.response_schema, request.parameters, request.tools):
        if extra:
            texts.append(dumps(extra))
            overhead += TOKENS_PER_SCHEMA
    return overhead + sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


def _file_bound(file: File, model: str) -> int:
    """The most tokens that a file can be counted as: a text by its bytes, anything else by what is known.

    Nobody knows the size of a document that the provider fetches.
    """
    if file.kind == "image":
        return TOKENS_PER_CLAUDE_IMAGE if model.startswith("anthropic/") else TOKENS_PER_IMAGE
    if file.media_type == "text/plain":
        return file.size
    if not file.size:
        return MOST_PER_DOCUMENT
    pages = max(1, file.size // BYTES_PER_PAGE)
    return min(MOST_PER_DOCUMENT, pages * TOKENS_PER_PAGE)


def output_bound(request: Request) -> int:
    """The most tokens that the answer to `request` can have, or all answers where it asks for several."""
    return answer_bound(request, DEFAULT_MAX_TOKENS)


@dataclass(frozen=True)
class Reservation:
    """One attempt that may be sent, with its bounds. `cost` is None when the price is unknown."""

    id: int
    role: Role
    input_tokens: int
    output_tokens: int
    cost: float | None

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class Ledger:
    """Account of all paid calls under optional ceilings; one for all processes that open the same file.

    Every `reserve_attempt` is ended by exactly one of `settle`, `settle_at_bound` and `refund`; a process
    that dies before leaves its reservations charged. Safe for threads and processes, also when one is killed.

    :param max_calls: attempts that may be sent, all roles together; None for no limit.
    :param max_tokens: of requests and answers; None for no limit.
    :param max_cost: US dollars; None for no limit. With a limit a call of unknown price is refused.
    :param max_time: seconds after which no attempt is sent or waited for; None for no limit.
    :param path: of the file; None for an account of this process alone.
    """

    def __init__(
        self,
        *,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        max_cost: float | None = None,
        max_time: float | None = None,
        path: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.max_calls = max_calls
        self.max_tokens = max_tokens
        self.max_cost = max_cost
        self.max_time = max_time
        self._clock = clock
        self._account = SharedTotals(path, clock)

    def move(self, path: Path, before: Mapping[Role, Spend] | None = None) -> str:
        """Keep the account in the file `path` from now on, and go on with what an earlier process left there.

        What that one had reserved stays charged, since nobody knows how it ended; the time between does not
        count. To be called before the first call. A file that cannot be used is set aside; where none can be
        made, the account stays in memory: `before` has the rest.

        :param before: the least that was spent; the file may have lost its last entries with the power.
        :return: which of the two had to be done, as a sentence; empty for neither.
        """
        before, said = before or {}, ""
        try:
            account = SharedTotals.continued(path, self._clock, before)
        except (OSError, sqlite3.Error) as error:
            aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
            said = f"the account {path} cannot be used ({error})"
            try:
                os.replace(path, aside)
                account = SharedTotals.continued(path, self._clock, before)
                said += f"; set aside as {aside.name} and made anew from the journal"
            except (OSError, sqlite3.Error):
                account = SharedTotals.continued(None, self._clock, before)
                said += "; it is kept in memory, so what is in flight when the run is killed is not counted"
        earlier, self._account = self._account, account
        earlier.close()
        return said

    @property
    def path(self) -> str | None:
        """Of the file that other processes may open as well; None for an account in memory."""
        return self._account.path

    def close(self) -> None:
        """Nothing can be reserved any more; what is in flight stays charged as reserved."""
        self._account.close()

    def reserve_attempt(self, request: Request, role: Role, price: Price | None) -> Reservation:
        """Charge one attempt before it is sent. Raises `ModelError` (BUDGET) past a ceiling."""
        wanted = _bounds(request, role, price)
        try:
            with self._account.writing() as book:
                self._check(book, request, wanted)
                book.execute("UPDATE spend SET calls = calls + 1 WHERE role = ?", (role,))
                row = book.execute(
                    "INSERT INTO reserved (owner, role, input_tokens, output_tokens, cost) "
                    "VALUES (?, ?, ?, ?, ?)",
                    (self._account.owner, role, wanted.input_tokens, wanted.output_tokens, wanted.cost),
                )
        except sqlite3.Error as error:
            why = error if self._account.exists else "its file was removed meanwhile"
            raise _refusal(request, f"the account of what is spent cannot be kept: {why}") from None
        return Reservation(row.lastrowid or 0, role, wanted.input_tokens, wanted.output_tokens, wanted.cost)

    def settle(self, reservation: Reservation, answer: Answer) -> Spend:
        """The attempt was answered: charge its cost and tokens; what is unknown is charged as reserved under
        a ceiling on it. More than was reserved ends all further calls.

        :return: what was charged, as of the other two.
        """
        cost, usage = answer.cost, answer.usage
        if cost is None and self.max_cost is not None:
            cost = reservation.cost
        tokens = (reservation.input_tokens, reservation.output_tokens) if self.max_tokens else (0, 0)
        if usage is not None:
            tokens = (usage.total - usage.output_tokens, usage.output_tokens)
        return self._end(reservation, *tokens, cost, self._excess(reservation, answer))

    def settle_at_bound(self, reservation: Reservation) -> Spend:
        """Nobody knows whether the attempt was billed (cancelled, timed out, cut off): it stays charged."""
        return self._end(reservation, reservation.input_tokens, reservation.output_tokens, reservation.cost)

    def refund(self, reservation: Reservation) -> Spend:
        """The provider turned the attempt down: it counts as a call, and costs nothing."""
        return self._end(reservation, 0, 0, 0.0)

    def in_the_way(self, request: Request, price: Price | None) -> frozenset[int]:
        """The reservations without which `reserve_attempt` may succeed: those in flight may turn out cheaper.

        Empty when it cannot succeed, whatever becomes of them.
        """
        wanted = _bounds(request, Role.TARGET, price)
        try:
            with self._account.writing() as book:
                reserved = book.execute("SELECT id, owner FROM reserved").fetchall()
                at_work = {owner for owner in {owner for _, owner in reserved} if self._account.alive(owner)}
                found = frozenset(id for id, owner in reserved if owner in at_work)
                if found:
                    self._check(book, request, wanted, but=found)
        except (ModelError, sqlite3.Error):
            return frozenset()
        return found

    def block_calls(self, why: str) -> None:
        """Refuse every call from now on, for this reason; an empty one lets them through again."""
        try:
            with self._account.writing() as book:
                put(book, "held", why)
        except sqlite3.Error:  # a full disk: then every call is refused in any case
            if why:
                raise

    def reserve_for_scoring(self, calls: int) -> None:
        """Keep `calls` free for confirming and scoring the result; 0 gives them back.

        Of tokens and money, as much as so many calls to the target took on average; of time, a quarter.
        """
        # Where nothing can be written nothing can be reserved either, which says why.
        with suppress(sqlite3.Error), self._account.writing() as book:
            put(book, "set_aside", calls)
            put(book, "planned", max(calls, int(get(book, "planned", 0))))

    @property
    def spend(self) -> Spend:
        """What all roles together have spent; attempts in flight count as calls, and cost nothing yet."""
        with self._account.reading() as book:
            return total(book)

    def spend_of(self, role: Role) -> Spend:
        with self._account.reading() as book:
            return spend_of(book, role)

    @property
    def seconds_left(self) -> float:
        """Until no attempt may be sent; infinite without a limit, without the share that is set aside."""
        if self.max_time is None:
            return math.inf
        with self._account.reading() as book:
            return self._seconds_left(book, self.max_time)

    def out_of_time(self, request: Request) -> ModelError:
        """What ends `request` when no seconds are left."""
        with self._account.reading() as book:
            kept = self._kept(book)
        why = f"the ceiling of {self.max_time or 0:g} s is reached{kept} (--promptopt-max-time)"
        return _refusal(request, why)

    @property
    def breach(self) -> str:
        """By how much a provider passed what was reserved for its answer, in a sentence; else empty."""
        with self._account.reading() as book:
            return str(get(book, "breach", ""))

    def _end(
        self,
        reservation: Reservation,
        input_tokens: int,
        output_tokens: int,
        cost: float | None,
        breach: str = "",
    ) -> Spend:
        # A disk that is full leaves the reservation, so that the attempt stays charged.
        with suppress(sqlite3.Error), self._account.writing() as book:
            book.execute("DELETE FROM reserved WHERE id = ?", (reservation.id,))
            charge(book, reservation.role, input_tokens, output_tokens, cost)
            if breach:
                put(book, "breach", breach)
        return Spend(1, input_tokens, output_tokens, cost or 0.0, int(cost is None))

    # ---------------------------------------------------------------------------------------- the ceilings

    def _check(
        self,
        book: sqlite3.Connection,
        request: Request,
        wanted: Reservation,
        *,
        but: frozenset[int] = frozenset(),
    ) -> None:
        """Raise `ModelError` when `wanted` passes a ceiling.

        :param but: reservations that are not counted.
        """
        if held := str(get(book, "held", "")):
            raise _refusal(request, held)
        if self.max_time is not None and self._seconds_left(book, self.max_time) <= 0:
            raise self.out_of_time(request)
        if self._calls_left(book) == 0:
            raise _refusal(
                request,
                f"the ceiling of {self.max_calls} calls is reached{self._kept(book, calls=True)} "
                "(--promptopt-max-calls)",
            )
        if self.max_tokens is None and self.max_cost is None:
            return
        if breach := str(get(book, "breach", "")):
            raise _refusal(request, breach)
        if name := unbounded_parameter(request):
            raise _refusal(request, unknown_size(request.model, name, cost=self.max_cost is not None))
        tokens, cost = outstanding(book, but)
        spent, (tokens_each, cost_each) = total(book), self._target_means(book)
        aside = int(get(book, "set_aside", 0))
        if self.max_tokens is not None:
            left = self.max_tokens - spent.input_tokens - spent.output_tokens - tokens - aside * tokens_each
            if wanted.tokens > left:
                raise _refusal(
                    request,
                    f"a call to {request.model} may take up to {wanted.tokens:,} tokens, and "
                    f"{max(0, int(left)):,} of {self.max_tokens:,} are left{self._kept(book)} "
                    "(--promptopt-max-tokens)",
                )
        if self.max_cost is not None:
            if wanted.cost is None:
                raise _refusal(request, unknown_price(request.model, self.max_cost))
            dollars = self.max_cost - spent.cost - cost - aside * cost_each
            if wanted.cost > dollars:
                raise _refusal(
                    request,
                    f"a call to {request.model} may cost up to ${wanted.cost:.4f}, and "
                    f"${max(0.0, dollars):.4f} of ${self.max_cost:g} is left{self._kept(book)} "
                    "(--promptopt-max-cost)",
                )

    def _kept(self, book: sqlite3.Connection, *, calls: bool = False) -> str:
        aside = int(get(book, "set_aside", 0))
        if not aside:
            return ""
        return (
            f", {aside} of them set aside for scoring the result"
            if calls
            else (" without what is set aside for scoring the result")
        )

    def _calls_left(self, book: sqlite3.Connection) -> int | None:
        if self.max_calls is None:
            return None
        return max(0, self.max_calls - int(get(book, "set_aside", 0)) - total(book).calls)

    def _seconds_left(self, book: sqlite3.Connection, ceiling: float) -> float:
        share = int(get(book, "set_aside", 0)) / max(1, int(get(book, "planned", 0)))
        return float(get(book, "started", 0)) + ceiling * (1 - SCORING_TIME * share) - self._clock()

    def _target_means(self, book: sqlite3.Connection) -> tuple[float, float]:
        """Tokens and dollars of a call to the target so far."""
        spend = spend_of(book, Role.TARGET)
        calls = max(1, spend.calls)
        return (spend.input_tokens + spend.output_tokens) / calls, spend.cost / calls

    def _excess(self, reservation: Reservation, answer: Answer) -> str:
        used = answer.usage.total if answer.usage is not None else 0
        if self.max_tokens is not None and used > reservation.tokens:
            more = f"{used - reservation.tokens:,} tokens more than the {reservation.tokens:,}"
        elif self.max_cost is not None and (answer.cost or 0.0) > (reservation.cost or 0.0) + 1e-12:
            bound = reservation.cost or 0.0
            more = f"${(answer.cost or 0.0) - bound:.6f} more than the ${bound:.6f}"
        else:
            return ""
        return f"{answer.model} reports {more} that its answer can take, so that no ceiling can hold"


def unknown_price(model: str, ceiling: float) -> str:
    """Why a model without a known price cannot be asked under a ceiling of so many dollars."""
    return (
        f"the price of {model} is unknown, so --promptopt-max-cost={ceiling:g} cannot hold; "
        "limit this run with --promptopt-max-calls or --promptopt-max-tokens instead"
    )


def unknown_size(model: str, parameter: str, *, cost: bool) -> str:
    """Why a request with this parameter cannot be sent under a ceiling on tokens or dollars."""
    return (
        f"with the parameter `{parameter}` nobody can say before what a call to {model} is billed, so "
        f"--promptopt-max-{'cost' if cost else 'tokens'} cannot hold; limit this run with "
        "--promptopt-max-calls instead"
    )


def _bounds(request: Request, role: Role, price: Price | None) -> Reservation:
    cost = None if price is None else price.bound(request)
    return Reservation(0, role, input_bound(request), output_bound(request), cost)


def _refusal(request: Request, why: str) -> ModelError:
    return ModelError(ErrorKind.BUDGET, why, model=request.model)
