"""The loop: one synchronous pump for live, replay and simulation."""
