"""Data that is texts: finding them in files, tokens, and batches of them."""
