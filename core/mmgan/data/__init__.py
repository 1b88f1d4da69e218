"""What tasks train on: data sets, the loader that draws batches from them, and the cache of decoded data."""
