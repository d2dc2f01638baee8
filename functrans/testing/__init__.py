"""Holding derivatives against finite differences, and finding the rule at fault. `functrans.test_util` is its face."""
