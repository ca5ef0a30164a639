"""Virtual clock, wire and disk: runs real pumps against real exchanges under a seed, audits them, shrinks what fails."""
