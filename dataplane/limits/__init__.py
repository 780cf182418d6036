"""Rate limits: the algorithms, and where their counts are kept. Applied to requests by filters/rate_limit.py."""
