"""No protection is off here: the API knows a client token for each of three tenants."""

from tests.faults.injections import replace

ROLE = "api"
TENANTS = ("ash", "birch", "cedar")


def token_of(tenant: str) -> str:
    return f"client-token-of-{tenant}"


def apply() -> None:
    from services.api import app
    from services.api.principals import Principal
    from shared.settings import Settings

    tokens_of = app.tokens_of

    def more(settings: Settings) -> dict[str, Principal]:
        tenants = {token_of(name): Principal(name, name, frozenset({"client"})) for name in TENANTS}
        return {**tokens_of(settings), **tenants}

    replace(app, "tokens_of", more)
