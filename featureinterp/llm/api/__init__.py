"""Language models behind an endpoint: requests, retries, cached answers, spending."""
