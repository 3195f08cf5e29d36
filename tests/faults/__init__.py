"""Faults on the real server under load, with an account of every request."""
