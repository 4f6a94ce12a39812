#!/usr/bin/env python3
"""Cancel every order at the venue and verify flat; for cron, systemd and people in a hurry. The same job as `bot cancel-all`.

python ops/cancel_all.py [--config bot.toml] [--run-dir DIR] [--venue URL] [--market CONDITION_ID] [--json]
"""

from __future__ import annotations

from bot.cli import run_command

if __name__ == "__main__":
    run_command("cancel-all")
