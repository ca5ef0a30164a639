"""What the operator said: configuration, secrets, endpoints."""
