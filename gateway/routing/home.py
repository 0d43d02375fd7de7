"""The home of a stored response."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Home:
    """Who made a response, and where.

    `background`: it is worked on after its request was answered, and billed when it is fetched.
    """

    subscription: str
    deployment: str
    backend: str
    background: bool = False
