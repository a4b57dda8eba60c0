"""The temporal encoder over sequences of any length, in blocks of tokens."""
