"""Speeds that recordings can be played at."""

from fractions import Fraction


def is_speed(value: float) -> bool:
    """Return whether a factor is between 0.5 and 2 and is exact in hundredths."""
    return 0.5 <= value <= 2.0 and Fraction(str(value)).denominator <= 100
