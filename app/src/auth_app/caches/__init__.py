"""What is kept in Valkey for speed. Nothing here decides whether a token is still good."""
