"""`python -m daybook` is the command line `daybook`."""

from daybook.cli.main import main

if __name__ == "__main__":
    main()
