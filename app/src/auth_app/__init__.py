"""The FastAPI auth service under test."""
