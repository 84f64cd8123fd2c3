"""What the customers do and when: they register, fill carts, buy, move house, and react to what reaches them.

Everything is drawn from one seeded generator; only reactions to messages depend on when those arrive. Delays are wall seconds made
for the demo's 600x, where a second is ten minutes of the clock: a cart is reminded of after six seconds.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from journey_pipelines.demo.shop.people import Person, person

# Shares of the events the shop writes itself; the rest of the pace comes from updates, orders and reactions.
_NEWCOMERS, _CARTS, _MOVES = 0.22, 0.20, 0.02
_FIRST_CUSTOMERS = 60


class Book(Protocol):
    """Where life is written down (`ledger.Ledger`)."""

    def save(self, person: Person, *events: tuple[str, str, dict[str, Any]]) -> None: ...
    def register(self, person: Person, identity: str, payload: dict[str, Any]) -> None: ...
    def event(self, person: Person, identity: str, kind: str, payload: dict[str, Any]) -> None: ...
    def order(self, person: Person, order_id: str, total: float, items: int, cart_id: str | None) -> None: ...


@dataclass
class _Cart:
    cart_id: str
    owner: str
    items: int
    total: float


@dataclass(order=True)
class _Plan:
    at: float
    order: int
    act: Callable[[float], object] = field(compare=False)


class Life:
    """A simulation stepped from outside: `until(now)` does everything planned up to `now` (seconds since the shop opened)."""

    def __init__(self, book: Book, *, seed: int, run: int, known: Iterable[Person], pace: float) -> None:
        """`pace`: events a second that the shop means to write; `known`: the customers of earlier runs."""
        self._book = book
        self._seed = seed
        self._run = run
        self._chance = Random(f"{seed}:run:{run}")  # noqa: S311 -- a simulation, to be repeated
        self._people = {p.customer_id: p for p in known}
        self._ids = list(self._people)
        self._at = {address: p.customer_id for p in self._people.values() for address in _addresses(p)}
        self._next_number = max((p.number for p in self._people.values()), default=-1) + 1
        self._carts: dict[str, _Cart] = {}
        self._pace = pace
        self._plans: list[_Plan] = []
        self._order = itertools.count()
        self._numbers = itertools.count(1)
        if not self._people:
            for n in range(_FIRST_CUSTOMERS):
                self._plan(n * 0.05, self._newcomer)
        self._every(_NEWCOMERS * pace, self._newcomer)
        self._every(_CARTS * pace, lambda now: self._open_cart(now, self._somebody()))
        self._every(_MOVES * pace, self._moves)

    def until(self, now: float, limit: int = 1000) -> float:
        """Do what is planned up to `now`, at most `limit` things; return the time of the next one."""
        for _ in range(limit):
            if self._plans[0].at > now:
                break
            plan = heapq.heappop(self._plans)
            plan.act(plan.at)
        return self._plans[0].at

    def receives(self, now: float, address: str, channel: str, subject: str) -> None:
        """A message reached an address: some buy, a few have had enough."""
        owner = self._at.get(address)
        if owner is None:
            return
        chance = self._chance.random()
        if chance < 0.015:
            self._plan(now + self._chance.uniform(1, 8), lambda at: self._unsubscribe(owner, channel))
        elif chance < 0.16:
            self._plan(now + self._chance.uniform(2, 15), lambda at: self._buy(owner, self._carts.get(owner)))

    def _plan(self, at: float, act: Callable[[float], object]) -> None:
        heapq.heappush(self._plans, _Plan(at, next(self._order), act))

    def _every(self, per_second: float, act: Callable[[float], object]) -> None:
        def again(now: float) -> None:
            act(now)
            self._plan(now + self._chance.expovariate(per_second), again)

        self._plan(self._chance.expovariate(per_second), again)

    def _identity(self, kind: str) -> str:
        return f"{kind}-{self._run}-{next(self._numbers)}"

    def _somebody(self) -> str | None:
        # Recent customers are the busy ones.
        return self._ids[-1 - int(len(self._ids) * self._chance.random() ** 2)] if self._ids else None

    def _remember(self, someone: Person) -> None:
        if someone.customer_id not in self._people:
            self._ids.append(someone.customer_id)
        self._people[someone.customer_id] = someone
        for address in _addresses(someone):
            self._at[address] = someone.customer_id

    def _newcomer(self, now: float) -> None:
        someone = person(self._seed, self._next_number)
        self._next_number += 1
        identity, payload = self._identity("registered"), {"plan": someone.plan, "referrer": someone.referrer}
        if self._chance.random() < 0.3:
            self._book.register(someone, identity, payload)
        else:
            self._book.save(someone, (identity, "user_registered", payload))
        self._remember(someone)
        if self._chance.random() < 0.3:
            self._plan(now + self._chance.expovariate(1 / 8), lambda at: self._open_cart(at, someone.customer_id))

    def _open_cart(self, now: float, owner: str | None) -> None:
        if owner is None or owner in self._carts:
            return
        cart = _Cart(self._identity("cart"), owner, 0, 0.0)
        self._carts[owner] = cart
        self._fill(cart)
        at = now
        for _ in range(self._chance.choice([0, 0, 1, 2])):
            at += self._chance.uniform(0.5, 2.0)
            self._plan(at, lambda _: self._fill(cart))
        outcome = self._chance.random()
        if outcome < 0.12:
            self._plan(at + self._chance.uniform(1, 4), lambda _: self._empty(cart))
        elif outcome < 0.40:
            self._plan(at + self._chance.uniform(1, 5), lambda _: self._buy(owner, cart))
        else:
            # Given up: forgotten after a while, so that its owner may fill another.
            self._plan(at + self._chance.uniform(60, 180), lambda _: self._forget(cart))

    def _fill(self, cart: _Cart) -> None:
        if self._carts.get(cart.owner) is not cart:
            return
        cart.items += self._chance.choice([1, 1, 2, 3])
        cart.total = round(cart.total + self._chance.lognormvariate(3.2, 0.8), 2)
        payload = {
            "cart_id": cart.cart_id,
            "item_count": cart.items,
            "total": cart.total,
            "cart_url": f"https://shop.example/cart/{cart.cart_id}",
        }
        self._book.event(self._people[cart.owner], self._identity("cart-updated"), "cart_updated", payload)

    def _empty(self, cart: _Cart) -> None:
        if self._forget(cart):
            self._book.event(self._people[cart.owner], self._identity("cart-emptied"), "cart_emptied", {"cart_id": cart.cart_id})

    def _buy(self, owner: str, cart: _Cart | None) -> None:
        if cart is not None and not self._forget(cart):
            return
        items = cart.items if cart else self._chance.randint(1, 4)
        total = cart.total if cart else round(self._chance.lognormvariate(3.2, 0.8), 2)
        buyer = self._people[owner].having(lifetime_value=self._people[owner].lifetime_value + total)
        self._book.order(buyer, self._identity("order"), total, items, cart.cart_id if cart else None)
        self._book.save(buyer)
        self._remember(buyer)

    def _forget(self, cart: _Cart) -> bool:
        """Whether the cart was still its owner's."""
        if self._carts.get(cart.owner) is not cart:
            return False
        del self._carts[cart.owner]
        return True

    def _unsubscribe(self, owner: str, channel: str) -> None:
        leaver = self._people[owner]
        if leaver.consents:
            leaver = leaver.having(subscription_status="unsubscribed")
            self._book.save(leaver, (self._identity("unsubscribed"), "unsubscribed", {"channel": channel}))
            self._remember(leaver)

    def _moves(self, now: float) -> None:
        """Somebody changes their profile: a new zone, another name, second thoughts about the newsletter."""
        owner = self._somebody()
        if owner is None:
            return
        mover, chance = self._people[owner], self._chance.random()
        if chance < 0.5:
            mover = mover.having(timezone=person(self._seed, self._chance.randrange(10**6)).timezone)
        elif chance < 0.75:
            mover = mover.having(last_name=person(self._seed, self._chance.randrange(10**6)).last_name)
        else:
            mover = mover.having(subscription_status="unsubscribed" if mover.consents else "active")
        self._book.save(mover)
        self._remember(mover)


def _addresses(someone: Person) -> list[str]:
    return [a for a in (someone.email_address, someone.phone_number, someone.push_token) if a]
