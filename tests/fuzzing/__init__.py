"""A bounded fuzzer over everything that samtune reads; `scripts/fuzz` runs it."""
