"""What a run is worth: metrics, intervals, tables."""
