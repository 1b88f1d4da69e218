"""Metrics of generated examples, compared with the data that the run was trained on."""
