"""Tokens: what they claim, how they are signed, and how a presented one is checked."""
