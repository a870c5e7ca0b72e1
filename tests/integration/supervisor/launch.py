"""`daybook up` with stand-ins for the services: `python launch.py DATA HTTP [NATS_PORT]`."""

import sys
from pathlib import Path

from daybook.supervisor.up import up
from shared.settings import Settings

STANDIN = str(Path(__file__).with_name("standin.py"))
ROLES = ("api", "scheduler", "dispatcher", "projector")

if __name__ == "__main__":
    data, http, *port = sys.argv[1:]
    settings = Settings.from_env(data=Path(data), http=http, grpc="127.0.0.1:0")
    services = {role: (STANDIN, role) for role in ROLES}
    sys.exit(up(settings, nats_port=int(port[0]) if port else None, services=services))
