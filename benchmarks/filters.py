"""The filter sets that are measured, by name."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Filters:
    """One row's settings; None is off, temperature 0 is greedy."""

    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    @property
    def greedy(self) -> bool:
        return self.temperature == 0

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments of onedraw's functions."""
        return {
            "temperature": self.temperature,
            "top_k": self.top_k,
            "top_p": self.top_p,
            "min_p": self.min_p,
        }


FILTERS = {
    "greedy": Filters(temperature=0.0),
    "temperature": Filters(),
    "top-k 50": Filters(top_k=50),
    "top-p 0.9": Filters(top_p=0.9),
    "min-p 0.05": Filters(min_p=0.05),
    "top-k 50 + top-p 0.9": Filters(top_k=50, top_p=0.9),
}
