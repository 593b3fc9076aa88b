"""umusic in containers, as an operator runs it, asked from outside by curl; needs Docker."""
