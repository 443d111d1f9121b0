"""Kalshi's Trade API v2 without an SDK: signing, wire codec, REST, websocket, and the port over them."""
