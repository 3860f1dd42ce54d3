"""Published logs in, the records of live runs out."""
