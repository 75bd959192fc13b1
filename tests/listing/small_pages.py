"""The size of a page in tests of listings with several pages."""

PAGE = 10
