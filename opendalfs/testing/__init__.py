"""Local servers and proxies for tests, benchmarks and examples."""
