"""`python -m umusic`: the command line."""

from umusic.cli import main

main()
