"""The machine that a run trains on: devices, precisions, processes, compiling, random generators."""
