"""The shell: sockets and HTTP, holding no decision."""
