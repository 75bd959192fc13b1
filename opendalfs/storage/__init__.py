"""Storage: the only code that calls OpenDAL."""
