"""Bodies: what comes in (always Pydantic), what goes out (Pydantic or msgspec)."""
