"""A run served on this machine: its pages, and a bench on which features and explanations are questioned live."""
