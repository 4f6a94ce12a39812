"""Trials: the real strategy and executor cores against a generated market on a virtual clock, and what they were worth."""
