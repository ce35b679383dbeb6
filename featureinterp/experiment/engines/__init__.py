"""Engines: execution of work units in one process, in several, or on a Ray cluster."""
