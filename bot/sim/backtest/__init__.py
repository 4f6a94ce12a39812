"""A recorded market, traded again on a virtual clock."""
