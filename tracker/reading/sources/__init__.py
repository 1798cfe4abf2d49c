"""Where log bytes come from, each with positions to go on from."""
