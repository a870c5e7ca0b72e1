"""`python -m services.projector`"""

from services.projector.app import main
from shared.process import run

if __name__ == "__main__":
    run("projector", main)
