#!/usr/bin/env python3
"""What the bot is doing; exit 0 alive, 3 halted, 4 not running or hung. The same job as `bot status`.

python ops/status.py [--run-dir DIR] [--json]
"""

from __future__ import annotations

from bot.cli import run_command

if __name__ == "__main__":
    run_command("status")
