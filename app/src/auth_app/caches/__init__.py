"""What is kept for speed, in Valkey or in the worker. Nothing here decides whether a token is still good."""
