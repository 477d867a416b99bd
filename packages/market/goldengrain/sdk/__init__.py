"""Sell and buy models whose scores are attested: everything that `gg` does, for programs.

session = connect("devnet", account="alice", password=Path("password"))
submission = sell(session, benchmark, classifier, sample=x_train[:100])

session = connect("devnet", account="bob", password=Path("password"))
model = buy(session, submission)
model.predict(x_new)
"""

from goldengrain.sdk.market import buy, sell
from goldengrain.sdk.session import Session, connect

__all__ = ["Session", "buy", "connect", "sell"]
