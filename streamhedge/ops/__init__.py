"""Hands and eyes: command line, control socket, log lines."""
