"""The names of the environment variables that settings are read from."""

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

PREFIX = "DAYBOOK_"


def variable_of(setting: str) -> str:
    """The setting's own variable; that with `_FILE` behind it names a file with the value of a secret."""
    return PREFIX + setting.upper()


def named(setting: str, *foreign: str) -> AliasChoices:
    """The setting's own variable, and others that mean the same; the first that is set wins."""
    return AliasChoices(variable_of(setting), *foreign)


def variables_of(setting: str, field: FieldInfo) -> list[str]:
    """All variables that mean the setting, its own first."""
    if isinstance(field.validation_alias, AliasChoices):
        return [str(choice) for choice in field.validation_alias.choices]
    return [variable_of(setting)]
