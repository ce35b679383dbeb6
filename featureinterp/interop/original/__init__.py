"""Data folders of the original system."""
