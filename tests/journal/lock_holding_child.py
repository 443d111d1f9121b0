"""Takes the write lock of a budget file, says so, and does nothing more: ``lock_holding_child.py PATH``."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
os.write(1, b"locked\n")
signal.pause()
