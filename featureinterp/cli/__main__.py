"""`python -m featureinterp.cli` is `featureinterp`."""

from featureinterp.cli import main

main()
