"""Figures with a baseline in the same run, as ratios."""
