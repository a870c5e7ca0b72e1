"""`python -m services.scheduler` watches the clock for all jobs."""

from services.scheduler.app import main
from shared.process import run

if __name__ == "__main__":
    run("scheduler", main)
