"""Ways to look at results: in the terminal and as a static page. Reads results, never changes them."""
