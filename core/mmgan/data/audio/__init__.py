"""Data that is sounds: finding files, decoding them, and batches of them."""
