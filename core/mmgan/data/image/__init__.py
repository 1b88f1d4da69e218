"""Data that is pictures: finding files, decoding them, and batches of them."""
