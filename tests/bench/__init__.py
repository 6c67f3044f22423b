"""How fast Stoker is: `python -m tests.bench [NAME...]`; see docs/benchmarks.md."""
