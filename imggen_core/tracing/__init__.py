"""What chapter 02's fit needs beyond the lesson, in plain Python: it imports no chapter."""
