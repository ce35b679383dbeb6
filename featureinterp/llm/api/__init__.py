"""Language models behind an endpoint: requests, retries, stored answers, spending."""
