"""`python -m services.api` serves the HTTP API."""

from services.api.app import main
from shared.process import run

if __name__ == "__main__":
    run("api", main)
