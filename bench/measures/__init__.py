"""The measures, each a program of its own."""
