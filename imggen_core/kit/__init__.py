"""The mechanism that the chapters stand on: plain Python, which imports no chapter."""
