"""Flame graphs: recordings by py-spy as data, the shares of named functions, and how they are drawn."""
