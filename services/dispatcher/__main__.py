"""`python -m services.dispatcher` dispatches."""

from services.dispatcher.app import main
from shared.process import run

if __name__ == "__main__":
    run("dispatcher", main)
