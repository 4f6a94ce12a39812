"""The catalogue of faults: rows P, C, S, H, A, T, D and V, which show on REST calls, in settlement and inside the bot."""

from __future__ import annotations

from bot.sim.entry import Entry

POSTS = "POST /order|POST /orders"
DELETES = "DELETE /order|DELETE /orders|DELETE /cancel-all|DELETE /cancel-market-orders"
HOST = "no venue reaches it: {}"

ENTRIES: dict[str, Entry] = {
    "T01": Entry(
        title="Actor dies",
        wire="nothing: the actor named raises (or hangs for hang_s) inside the bot",
        where="bot",
        acts=True,
        kinds=("raise", "hang"),
        extras={"actor": "", "hang_s": 10.0},
        required=("actor",),
    ),
    "T05": Entry(
        title="Gateway hangs",
        wire="nothing: the gateway hangs inside the bot",
        where="bot",
        acts=True,
        kinds=("hang",),
        extras={"actor": "orders", "hang_s": 10.0},
    ),
    "T06": Entry(
        title="Executor stalls",
        wire="nothing: the executor stops handling",
        where="bot",
        acts=True,
        kinds=("hang",),
        extras={"actor": "executor", "hang_s": 1.5},
    ),
}
