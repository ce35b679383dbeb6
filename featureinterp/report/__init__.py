"""Reports: terminal views, pages, figures and server (read-only)."""
