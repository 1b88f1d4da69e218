"""Measures of what a run generates, beside the data that it was trained on."""
