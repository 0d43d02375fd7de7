"""Settings that contradict each other."""

import pytest
from pydantic import ValidationError

from hosting.settings import Settings


@pytest.mark.parametrize(("body", "first_byte", "refused"), [(60, 225, False), (225, 225, True), (300, 225, True)])
def test_a_slow_sender_is_no_failing_backend(body: float, first_byte: float, *, refused: bool) -> None:
    """Whoever sends a file slowly must be told before its backend is given up."""
    values = {"body_timeout_seconds": body, "first_byte_timeout_seconds": first_byte}
    if refused:
        with pytest.raises(ValidationError, match="BODY_TIMEOUT_SECONDS must be below FIRST_BYTE_TIMEOUT_SECONDS"):
            Settings.model_validate(values)
    else:
        assert Settings.model_validate(values).body_timeout_seconds == body


def test_the_stand_ins_stay_off_azure() -> None:
    """Tables and streams of one machine are refused where the app is deployed, but for Core Tools."""
    values = {"TOLLGATE_SEAMS": "local.seams:open_seams", "WEBSITE_SITE_NAME": "contoso"}
    with pytest.raises(ValidationError, match="for one machine only"):
        Settings.model_validate(values)
    assert not Settings.model_validate(values | {"AZURE_FUNCTIONS_ENVIRONMENT": "Development"}).on_azure
