"""``ironbench host``: what runs as root on a bench host, before and after the measured window."""
