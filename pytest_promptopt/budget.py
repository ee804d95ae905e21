"""What the run may spend: every attempt is reserved before it is sent and settled when it is over."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.home import alive
from pytest_promptopt.records import Answer, Request, Role, Spend, Usage

#: Length of an answer where the request names none. Sent with every call, so that a reservation is a bound.
DEFAULT_MAX_TOKENS = 8192

#: What a provider adds to the text it is given: the frame of a message, the instructions of a schema.
TOKENS_PER_MESSAGE = 16
TOKENS_PER_SCHEMA = 500

#: The share of a ceiling on time that is kept for confirming and scoring what the search finds.
SCORING_TIME = 0.25

#: Seconds to wait for another process's write, which takes some microseconds.
LOCK_TIMEOUT = 30.0


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
    overhead = TOKENS_PER_MESSAGE * (1 + len(texts))
    for extra in (request.response_schema, request.parameters):
        if extra:
            texts.append(json.dumps(extra))
            overhead += TOKENS_PER_SCHEMA
    return overhead + sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


def output_bound(request: Request) -> int:
    """The most tokens that the answer to `request` can have."""
    return DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens


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


_BOOK = """
CREATE TABLE IF NOT EXISTS spend (
    role TEXT PRIMARY KEY, calls INTEGER DEFAULT 0, input_tokens INTEGER DEFAULT 0,
    output_tokens INTEGER DEFAULT 0, cost REAL DEFAULT 0, unpriced INTEGER DEFAULT 0
);
CREATE TABLE IF NOT EXISTS reserved (
    id INTEGER PRIMARY KEY AUTOINCREMENT, owner INTEGER, role TEXT, input_tokens INTEGER,
    output_tokens INTEGER, cost REAL
);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value);
"""

_CLOSE = """
UPDATE spend SET input_tokens = input_tokens + ?, output_tokens = output_tokens + ?, cost = cost + ?,
    unpriced = unpriced + ? WHERE role = ?
"""


class Ledger:
    """Account of all paid calls under optional ceilings; one for all processes that open the same file.

    Every `reserve` is ended by exactly one of `settle`, `keep` and `refund`; a process that dies before
    leaves its reservations charged. Safe for threads and processes, also when one is killed.

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
        self._lock = threading.RLock()
        self._book = self._open(path)

    def move(self, path: Path, before: Mapping[Role, Spend] | None = None) -> None:
        """Keep the account in the file `path` from now on, and go on with what an earlier process left there.

        What that one had reserved stays charged, since nobody knows how it ended; the time between does not
        count. To be called before the first call. Raises `sqlite3.Error` when the file cannot be used.

        :param before: the least that was spent; the file may have lost its last entries with the power.
        """
        with self._lock:
            self._book.close()
            self._book = self._open(path)
        with self._writing(seen=False) as book:
            self._adopt(book)
            for role, spend in (before or {}).items():
                known = Spend(*map(max, astuple(self._spend_of(book, role)), astuple(spend)))
                book.execute(
                    "UPDATE spend SET calls = ?, input_tokens = ?, output_tokens = ?, cost = ?, unpriced = ? "
                    "WHERE role = ?",
                    (*astuple(known), role),
                )

    def close(self) -> None:
        """Nothing can be reserved any more; what is in flight stays charged as reserved."""
        with self._lock:
            self._book.close()

    def __del__(self) -> None:
        with suppress(AttributeError):  # when it could not be opened
            self._book.close()  # Python 3.13 warns of a connection that nobody closed

    def reserve(self, request: Request, role: Role, price: Price | None) -> Reservation:
        """Charge one attempt before it is sent. Raises `ModelError` (BUDGET) past a ceiling."""
        wanted = _bounds(request, role, price)
        try:
            with self._writing() as book:
                self._check(book, request, wanted)
                book.execute("UPDATE spend SET calls = calls + 1 WHERE role = ?", (role,))
                row = book.execute(
                    "INSERT INTO reserved (owner, role, input_tokens, output_tokens, cost) "
                    "VALUES (?, ?, ?, ?, ?)",
                    (os.getpid(), role, wanted.input_tokens, wanted.output_tokens, wanted.cost),
                )
        except sqlite3.Error as error:
            raise _refusal(request, f"the account of what is spent cannot be kept: {error}") from None
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

    def keep(self, reservation: Reservation) -> Spend:
        """Nobody knows whether the attempt was billed (cancelled, timed out, cut off): it stays charged."""
        return self._end(reservation, reservation.input_tokens, reservation.output_tokens, reservation.cost)

    def refund(self, reservation: Reservation) -> Spend:
        """The provider turned the attempt down: it counts as a call, and costs nothing."""
        return self._end(reservation, 0, 0, 0.0)

    def could_fit(self, request: Request, price: Price | None) -> bool:
        """Whether `reserve` may succeed later, when attempts now in flight turn out cheaper than reserved."""
        wanted = _bounds(request, Role.TARGET, price)
        try:
            with self._writing() as book:
                owners = book.execute("SELECT DISTINCT owner FROM reserved").fetchall()
                at_work = [owner for (owner,) in owners if alive(owner)]
                if not at_work:
                    return False
                self._check(book, request, wanted, but=at_work)
        except (ModelError, sqlite3.Error):
            return False
        return True

    def hold(self, why: str) -> None:
        """Refuse every call from now on, for this reason; an empty one lets them through again."""
        with self._writing() as book:
            _put(book, "held", why)

    def set_aside(self, calls: int) -> None:
        """Keep `calls` free for confirming and scoring the result; 0 gives them back.

        Of tokens and money, as much as so many calls to the target took on average; of time, a quarter.
        """
        with self._writing() as book:
            _put(book, "set_aside", calls)
            _put(book, "planned", max(calls, int(_get(book, "planned", 0))))

    @property
    def spend(self) -> Spend:
        """What all roles together have spent; attempts in flight count as calls, and cost nothing yet."""
        with self._lock:
            return _total(self._book)

    def spend_of(self, role: Role) -> Spend:
        with self._lock:
            return self._spend_of(self._book, role)

    @property
    def calls_left(self) -> int | None:
        """Attempts that may still be sent, without those set aside; None without a limit."""
        with self._lock:
            return self._calls_left(self._book)

    @property
    def seconds_left(self) -> float:
        """Until no attempt may be sent; infinite without a limit, without the share that is set aside."""
        if self.max_time is None:
            return math.inf
        with self._lock:
            return self._seconds_left(self._book, self.max_time)

    def out_of_time(self, request: Request) -> ModelError:
        """What ends `request` when no seconds are left."""
        with self._lock:
            kept = self._kept(self._book)
        why = f"the ceiling of {self.max_time or 0:g} s is reached{kept} (--promptopt-max-time)"
        return _refusal(request, why)

    @property
    def breach(self) -> str:
        """By how much a provider passed what was reserved for its answer, in a sentence; else empty."""
        with self._lock:
            return str(_get(self._book, "breach", ""))

    # --------------------------------------------------------------------------------------------- the book

    def _open(self, path: Path | None) -> sqlite3.Connection:
        if path is not None:
            # SQLite gives its side files the mode of the database, so this makes them the owner's as well.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        book = sqlite3.connect(
            path or ":memory:", timeout=LOCK_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        book.execute("PRAGMA journal_mode = WAL")  # `kill -9` loses no entry, a loss of power only the last
        book.execute("PRAGMA synchronous = NORMAL")
        book.executescript(_BOOK)
        for role in Role:
            book.execute("INSERT OR IGNORE INTO spend (role) VALUES (?)", (role,))
        for name in ("started", "seen"):
            book.execute("INSERT OR IGNORE INTO state VALUES (?, ?)", (name, self._clock()))
        return book

    @contextmanager
    def _writing(self, *, seen: bool = True) -> Iterator[sqlite3.Connection]:
        """The book, for one change that is made whole or not at all.

        :param seen: note that the session was alive by now.
        """
        with self._lock:
            self._book.execute("BEGIN IMMEDIATE")
            try:
                yield self._book
                if seen:
                    _put(self._book, "seen", self._clock())
                self._book.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # some errors have rolled it back already
                    self._book.execute("ROLLBACK")
                raise

    def _adopt(self, book: sqlite3.Connection) -> None:
        for row in book.execute("SELECT role, input_tokens, output_tokens, cost FROM reserved").fetchall():
            role, input_tokens, output_tokens, cost = row
            book.execute(_CLOSE, (input_tokens, output_tokens, cost or 0.0, cost is None, role))
        book.execute("DELETE FROM reserved")
        now = self._clock()
        elapsed = float(_get(book, "seen", now)) - float(_get(book, "started", now))
        for name, value in (("started", now - elapsed), ("seen", now), ("set_aside", 0)):
            _put(book, name, value)
        for name in ("breach", "held"):
            _put(book, name, "")

    def _end(
        self,
        reservation: Reservation,
        input_tokens: int,
        output_tokens: int,
        cost: float | None,
        breach: str = "",
    ) -> Spend:
        # A disk that is full leaves the reservation, so that the attempt stays charged.
        with suppress(sqlite3.Error), self._writing() as book:
            book.execute("DELETE FROM reserved WHERE id = ?", (reservation.id,))
            book.execute(_CLOSE, (input_tokens, output_tokens, cost or 0.0, cost is None, reservation.role))
            if breach:
                _put(book, "breach", breach)
        return Spend(1, input_tokens, output_tokens, cost or 0.0, int(cost is None))

    # ---------------------------------------------------------------------------------------- the ceilings

    def _check(
        self, book: sqlite3.Connection, request: Request, wanted: Reservation, *, but: list[int] | None = None
    ) -> None:
        """Raise `ModelError` when `wanted` passes a ceiling.

        :param but: processes whose reservations are not counted.
        """
        if held := str(_get(book, "held", "")):
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
        if breach := str(_get(book, "breach", "")):
            raise _refusal(request, breach)
        tokens, cost = _outstanding(book, but or [])
        spent, (tokens_each, cost_each) = _total(book), self._target_means(book)
        aside = int(_get(book, "set_aside", 0))
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
        aside = int(_get(book, "set_aside", 0))
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
        return max(0, self.max_calls - int(_get(book, "set_aside", 0)) - _total(book).calls)

    def _seconds_left(self, book: sqlite3.Connection, ceiling: float) -> float:
        share = int(_get(book, "set_aside", 0)) / max(1, int(_get(book, "planned", 0)))
        return float(_get(book, "started", 0)) + ceiling * (1 - SCORING_TIME * share) - self._clock()

    def _target_means(self, book: sqlite3.Connection) -> tuple[float, float]:
        """Tokens and dollars of a call to the target so far."""
        spend = self._spend_of(book, Role.TARGET)
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

    def _spend_of(self, book: sqlite3.Connection, role: Role) -> Spend:
        row = book.execute(
            "SELECT calls, input_tokens, output_tokens, cost, unpriced FROM spend WHERE role = ?", (role,)
        ).fetchone()
        return Spend(*row)


def unknown_price(model: str, ceiling: float) -> str:
    """Why a model without a known price cannot be asked under a ceiling of so many dollars."""
    return (
        f"the price of {model} is unknown, so --promptopt-max-cost={ceiling:g} cannot hold; "
        "limit this run with --promptopt-max-calls or --promptopt-max-tokens instead"
    )


def _bounds(request: Request, role: Role, price: Price | None) -> Reservation:
    cost = None if price is None else price.bound(request)
    return Reservation(0, role, input_bound(request), output_bound(request), cost)


def _refusal(request: Request, why: str) -> ModelError:
    return ModelError(ErrorKind.BUDGET, why, model=request.model)


def _total(book: sqlite3.Connection) -> Spend:
    row = book.execute(
        "SELECT SUM(calls), SUM(input_tokens), SUM(output_tokens), SUM(cost), SUM(unpriced) FROM spend"
    ).fetchone()
    return Spend(*row)


def _outstanding(book: sqlite3.Connection, but: list[int]) -> tuple[int, float]:
    """Tokens and dollars that are reserved, by other processes than `but`."""
    rows = book.execute("SELECT owner, input_tokens + output_tokens, cost FROM reserved").fetchall()
    counted = [(tokens, cost or 0.0) for owner, tokens, cost in rows if owner not in but]
    return sum(tokens for tokens, _ in counted), math.fsum(cost for _, cost in counted)


def _get(book: sqlite3.Connection, name: str, default: object) -> Any:
    row = book.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
    return default if row is None else row[0]


def _put(book: sqlite3.Connection, name: str, value: object) -> None:
    book.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))
