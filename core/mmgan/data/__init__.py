"""Training data: data sets, the loader that draws batches from them, and the cache of decoded data."""
