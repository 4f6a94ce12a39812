"""What the venue's book knows better than the model, learnt slowly: a shift of the log odds (strategy.md section 6).

A move of the reference passes through at once, for it moves the model; the level is the book's, learnt within seconds
(the model's own, which hangs on volatility and basis, is worse). One object for each market, so that nothing is carried over into the next window.
"""

from __future__ import annotations

import math

from bot.quoting.parameters import Parameters

GAP_MAX = 1.0  # of one observation, in log odds: one mad book moves little


def logit(p: float) -> float:
    return math.log(p / (1.0 - p))


def expit(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


class Blend:
    """`beta` is the learnt gap, book above model; `shift` is the part of it that quotes believe."""

    def __init__(self, parameters: Parameters) -> None:
        self._half_life_s = parameters.H_beta
        self._rho = parameters.rho
        self.beta = 0.0
        self.shift = 0.0

    def learn(self, p_model: float, micro: float, seconds: float) -> None:
        """The others' microprice, as it stood for so long."""
        keep = 2.0 ** (-seconds / self._half_life_s)
        gap = min(max(logit(micro) - logit(p_model), -GAP_MAX), GAP_MAX)
        self.beta = keep * self.beta + (1.0 - keep) * gap
        self.shift = self._rho * self.beta

    def blended(self, p_model: float) -> float:
        return expit(logit(p_model) + self.shift) if self.shift else p_model

    def modelled(self, p: float) -> float:
        """The model's p at which the blend would be this p."""
        return expit(logit(p) - self.shift) if self.shift else p
