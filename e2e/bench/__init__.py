"""What the engine costs in the browser, beside the library that defined its model and the bare storage.

`python -m e2e.bench` measures in one Chromium session on a persistent profile, prints a table, and writes
`results.json` and the chart of the README. Nothing here asserts a time.
"""
