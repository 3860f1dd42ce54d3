"""`make benchmark-app`: what the levers cost, measured side by side. docs/benchmark-app.md has the method."""
