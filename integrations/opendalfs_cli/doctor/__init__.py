"""The command `doctor`: what works on the way to a URL, what does not, and what mends it.

===============  =============================================================================================
`command`        the command, and the order of the steps
`checks`         what a step finds, and its form in the report
`network`        DNS, TCP, TLS and the clock, without OpenDAL and without credentials
`storage`        requests with the credentials: HEAD, list, ranged read, conditional write
`diagnosis`      sentences for errors
===============  =============================================================================================
"""
