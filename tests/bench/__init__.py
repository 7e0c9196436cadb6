"""`make bench`: Longhaul's ratios against an ordinary blueprint, on real servers."""
