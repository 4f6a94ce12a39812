"""clobmaker: a market maker for binary up/down markets on Polymarket's order book, priced from Binance."""

__version__ = "0.1.0"
