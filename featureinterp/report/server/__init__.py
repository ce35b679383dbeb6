"""Report server: pages of a run, and a bench for live queries."""
