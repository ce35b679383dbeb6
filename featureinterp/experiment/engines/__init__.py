"""Engines: where units of work run, in this process, in several, or on a Ray cluster."""
