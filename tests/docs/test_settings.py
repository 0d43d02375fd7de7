"""docs/settings.md against hosting/settings.py."""

from collections.abc import Callable

from pydantic.fields import FieldInfo

from hosting.settings import Settings

type Rows = list[dict[str, str]]


def shown(field: FieldInfo) -> str:
    match field.default:
        case bool(flag):
            return str(int(flag))
        case float(number):
            return f"{number:g}"
        case "":
            return "empty"
        case default:
            return str(default)


def test_every_setting_is_described(rows_of: Callable[[str, str], Rows]) -> None:
    """The table names each setting once, as it is set, with its true default, and none that does not exist."""
    described = [(row["name"], row["default"]) for row in rows_of("settings.md", "Settings")]
    existing = {field.alias or name.upper(): shown(field) for name, field in Settings.model_fields.items()}
    assert dict(described) == existing
    assert len(described) == len(existing)
    assert all(row["meaning"] for row in rows_of("settings.md", "Settings"))
