"""Bundles of two times or two hosts, side by side."""
