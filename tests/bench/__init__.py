"""What the engine costs on CPython, beside DBOS Transact's SQLite mode: ``python -m tests.bench``.

Every measurement is a process of its own with a folder of its own. They run one after another, in turns, several
times over; what is printed is the median. Nothing here asserts a time.
"""
