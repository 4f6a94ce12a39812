"""Cash, tokens and collateral of the embedded exchange, and what open orders reserve of them. Knows no book.

Invariant: cash of all + collateral locked in sets + fees taken == what came from outside. A buy or sell of a token moves
cash and tokens of its owner; what the parties of a match pay together is what its sets lock (or, negative, free).
"""

from __future__ import annotations

from bot.messages import Side
from bot.sim.records import Account, Order, SimMarket, Submit, taker_fee
from bot.units import PX_ONE, Px, Qty, Usd, notional

UNFUNDED = "not enough balance / allowance: the balance is not enough"


class Money:
    """All accounts. Open BUY notional is counted by market against all the cash, so several markets may share it."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.locked: dict[str, Usd] = {}  # collateral behind complete sets, by market
        self.fees: Usd = 0
        self.outside: Usd = 0  # deposits, and payouts of granted tokens
        self._granted: dict[str, Qty] = {}

    def account(self, owner: str) -> Account:
        account = self.accounts.get(owner)
        if account is None:
            account = self.accounts[owner] = Account()
        return account

    def deposit(self, owner: str, usd: Usd) -> None:
        self.account(owner).cash += usd
        self.outside += usd

    def grant(self, owner: str, token: str, qty: Qty) -> None:
        tokens = self.account(owner).tokens
        tokens[token] = tokens.get(token, 0) + qty
        self._granted[token] = self._granted.get(token, 0) + qty

    def split(self, owner: str, market: SimMarket, qty: Qty) -> bool:
        account = self.account(owner)
        if market.outcome or account.cash < qty:
            return False
        for token in (market.up_token, market.down_token):
            account.tokens[token] = account.tokens.get(token, 0) + qty
        account.cash -= qty
        self.locked[market.condition_id] += qty
        return True

    def merge(self, owner: str, market: SimMarket, qty: Qty) -> bool:
        account, pair = self.account(owner), (market.up_token, market.down_token)
        if market.outcome or any(account.tokens.get(t, 0) - account.open_sell.get(t, 0) < qty for t in pair):
            return False
        for token in pair:
            account.tokens[token] -= qty
        account.cash += qty
        self.locked[market.condition_id] -= qty
        return True

    def pay(self, condition_id: str, owner: str, token: str, side: Side, px: Px, qty: Qty) -> None:
        """One leg of a match, in whole lots so that cash is exact; a negative qty takes it back."""
        account = self.account(owner)
        signed = qty if side is Side.BUY else -qty
        paid = px * signed // PX_ONE
        account.tokens[token] = account.tokens.get(token, 0) + signed
        account.cash -= paid
        self.locked[condition_id] += paid

    def take_fee(self, owner: str, fee: Usd) -> None:
        self.account(owner).cash -= fee
        self.fees += fee

    def take_shares(self, owner: str, token: str, qty: Qty) -> None:
        """A fee kept back in shares; negative gives it back."""
        if qty:
            for name, change in ((owner, -qty), ("fees", qty)):
                tokens = self.account(name).tokens
                tokens[token] = tokens.get(token, 0) + change

    def holders(self, market: SimMarket) -> tuple[str, ...]:
        """Who has some of either token."""
        pair = (market.up_token, market.down_token)
        return tuple(owner for owner, one in self.accounts.items() if any(one.tokens.get(token) for token in pair))

    def pay_out(self, market: SimMarket, winner: str) -> dict[str, Usd]:
        """A winning token is worth one USD, whose owners are told; the positions are gone. Open orders must have been ended before."""
        paid = {owner: qty for owner, account in self.accounts.items() if (qty := account.tokens.get(winner, 0))}
        for owner, usd in paid.items():
            self.accounts[owner].cash += usd
        for account in self.accounts.values():
            for token in (market.up_token, market.down_token):
                account.tokens.pop(token, None)
                account.open_sell.pop(token, None)
            account.open_buy.pop(market.condition_id, None)
        self.outside += self._granted.get(winner, 0)
        self.locked[market.condition_id] = 0
        return paid

    def imbalance(self) -> Usd:
        cash = sum(account.cash for account in self.accounts.values())
        return cash + sum(self.locked.values()) + self.fees - self.outside

    # -- reservations ----------------------------------------------------------------------------------------------

    def shortage(self, order: Submit, market: SimMarket, marketable: bool) -> str:
        """The venue's refusal when an order would reserve more than there is; a taker needs its fee, too."""
        account = self.account(order.owner)
        fee = 0
        if order.side is Side.BUY:
            have, amount = account.cash, notional(order.px, order.qty)
            active = account.open_buy.get(market.condition_id, 0)
            if marketable and not order.post_only:  # p + fee(p) grows with p, so the limit price is the dearest case
                fee = taker_fee(order.qty, order.px, market.fee_rate)
        else:
            have, amount = account.tokens.get(order.token, 0), order.qty
            active = account.open_sell.get(order.token, 0)
        if active + amount + fee <= have:
            return ""
        used = f", sum of active orders: {active}" if active else ""
        return f"{UNFUNDED} -> balance: {have}{used}, order amount: {amount}"

    def reserve(self, order: Order, before: Qty, after: Qty) -> None:
        """The order's open size changed. Differences of floors, so that pieces always sum to the whole."""
        account, cid = self.account(order.owner), order.condition_id
        if order.side is Side.BUY:
            change = notional(order.px, after) - notional(order.px, before)
            account.open_buy[cid] = account.open_buy.get(cid, 0) + change
        else:
            account.open_sell[order.token] = account.open_sell.get(order.token, 0) + after - before

    def covers(self, order: Order) -> bool:
        """Is there still enough for this order and all others that share its reservation?"""
        account = self.account(order.owner)
        if order.side is Side.BUY:
            return account.open_buy[order.condition_id] <= max(account.cash, 0)
        return account.open_sell[order.token] <= max(account.tokens.get(order.token, 0), 0)

    def covers_all(self, owner: str) -> bool:
        """Is there enough for every open order of an owner?"""
        account = self.account(owner)
        cash, tokens = max(account.cash, 0), account.tokens
        return all(usd <= cash for usd in account.open_buy.values()) and all(
            qty <= max(tokens.get(token, 0), 0) for token, qty in account.open_sell.items()
        )

    def covers_taker(self, order: Order, market: SimMarket) -> bool:
        """The same at the moment a held order is matched, with its fee."""
        account = self.account(order.owner)
        if order.side is Side.SELL:
            return True
        fee = taker_fee(order.qty, order.px, market.fee_rate)
        return account.open_buy[order.condition_id] + fee <= account.cash
