"""`python -m streamhedge`."""

from streamhedge.ops.cli import main

if __name__ == "__main__":
    main()
