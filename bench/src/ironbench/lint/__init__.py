"""What is wrong with anybody's published tables, told from the tables alone."""
