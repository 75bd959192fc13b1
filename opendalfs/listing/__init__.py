"""Listings: what is where, as info dicts."""
