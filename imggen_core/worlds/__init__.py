"""The data worlds beyond the lessons, in plain Python: drawing and templates. It imports no chapter."""
