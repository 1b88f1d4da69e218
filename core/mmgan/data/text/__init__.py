"""Texts as data: finding them in files, tokenizing them, and batches of them."""
